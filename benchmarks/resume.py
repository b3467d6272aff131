"""What it costs to learn that a large sweep is stored: its files known by a listing, or read again.

Cells of a few rows, their files made up. CPU of this process: the plan, and a sweep with nothing
to do; then the same with the note of what was checked taken away, and for whoever loads all rows.

    python benchmarks/resume.py                   # 20,000 cells
    python benchmarks/resume.py --cells 2000      # a sample
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common import claim

import results
from results import schema
from results.files import Root
from results.store import Store
from results.verified import forget_verified
from search.engine.here import Here
from search.engine.plan import Grid
from search.engine.study import Place, Study


@dataclass(frozen=True, kw_only=True)
class Cell:
    """As many fields as a cell of the table search has."""

    number: int
    data: str = "made-up"
    model: str = "resnet50"
    weights: str = "w" * 64
    attack: str = "fgsm"
    eps_255: float = 2.0
    piece: str = "p" * 64
    tables: tuple[str, ...] = tuple(f"k3-of16-af{q}" for q in range(1, 122, 5))


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of an image."""

    image: int
    label: int
    predicted: int


def load(_: Cell, __: Place) -> None:
    """Nothing."""


def evaluate(_: Cell, __: None) -> schema.Columns:
    """Nothing is computed."""
    return {"image": [0, 1, 2], "label": [0, 1, 2], "predicted": [0, 1, 1]}


STUDY = Study("resume", 1, Cell, Row, load, evaluate, n_rows=lambda _: 3)


def sweep(store: Store, n_cells: int) -> tuple[int, int]:
    """How many cells were stored, and how many run."""
    plan = Grid(STUDY.cell_id, [Cell(number=n) for n in range(n_cells)])
    outcome = Here(store).sweep(STUDY, plan, "resume", label="resume")
    return outcome.n_stored, outcome.n_run


def cpu_s(call: Callable[[], object]) -> float:
    """Of this process."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> int:
    """Store, then resume in three ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20_000)
    n_cells = parser.parse_args().cells
    kept = Path("results/out/bench")
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as folder:
        store = Store(Root(folder))
        assert sweep(store, n_cells) == (0, n_cells)

        def resume() -> None:
            assert sweep(store, n_cells) == (n_cells, 0)

        listed = cpu_s(resume)
        forget_verified(store.root, store.folder(STUDY.name, "resume"))
        print(f"{n_cells} cells: {cpu_s(resume):.1f} s of CPU where every file is read again, "
              f"{cpu_s(lambda: results.load(STUDY.name, store=folder)):.1f} s to load all rows",
        )  # fmt: skip
    return not claim("seconds of CPU to resume with nothing to do", listed, 5.0)


if __name__ == "__main__":
    raise SystemExit(main())
