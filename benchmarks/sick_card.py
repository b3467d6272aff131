"""On a GPU: forty cells in two processes, one of which spoils its own context. All must be stored.

After an illegal access every CUDA call of a process fails, in milliseconds: left alive, it would
take the other's cells too and fail them. No ratio, so no claim: the count is what matters.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from begin import words

from results import schema
from results.files import Root
from results.store import Store
from search.engine.engine import Engine
from search.engine.plan import Grid
from search.engine.study import Place, Study

N_CELLS = 40


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One of many; the first process that makes `lock` falls ill."""

    number: int
    lock: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a sound process finds."""

    doubled: int


def load(_: Cell, place: Place) -> str:
    """Where this process computes."""
    return place.device


def evaluate(cell: Cell, device: str) -> schema.Columns:
    """Twice the number, or no CUDA call ever again."""
    try:
        os.close(os.open(cell.lock, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        time.sleep(0.2)
        return {"doubled": [int(2 * torch.tensor(cell.number, device=device))]}
    torch.zeros(1, device=device)[torch.tensor([9], device=device)].cpu()
    raise AssertionError("an index past the end went unnoticed")


SICK = Study("sick_card", 1, Cell, Row, load, evaluate)


def main() -> int:
    """One sweep."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return 0
    here = str(Path(__file__).parent)  # where workers find this module
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Store(Root(folder)), gpus=0.5)
        cells = [Cell(number=n, lock=f"{folder}/lock") for n in range(N_CELLS)]
        plan = Grid(SICK.cell_id, cells)
        outcome = engine.sweep(SICK, plan, "sick", label="a sick process among two")
        engine.stop()
    print(f"{outcome.n_run} of {N_CELLS} cells stored, {len(outcome.failed)} failed")
    return outcome.n_run != N_CELLS


if __name__ == "__main__":
    import sick_card  # its classes under the name by which workers find them

    words()
    raise SystemExit(sick_card.main())
