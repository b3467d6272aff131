"""How far one driver reaches: 100,000 cells of a few milliseconds through plan, tasks and store.

Every cell returns the rows of a table search's cell at full size (6,250 rows of all columns, here
of 250 images under 25 tables), made up instead of computed. Measured, once the workers run: cells
per second, the driver's memory over time, and whether the rows can be read afterwards. From that a
paper estimate of the full ImageNet search: its compute is divided by the number of GPUs until
something else is slower.

    python benchmarks/scale.py                    # 100,000 cells
    python benchmarks/scale.py --cells 5000       # a sample
"""

import argparse
import contextlib
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds
from common import claim

from core.codec.qtable import Defensive
from results import schema
from results.files import Root
from results.store import Store
from search.engine.engine import Engine
from search.engine.plan import Grid
from search.engine.study import Place, Study
from search.tables.plan import Cell, Row
from search.tables.tally import Tally, digest

TABLES = tuple(Defensive(pattern=3, qs_of=16, qs_af=q) for q in range(1, 122, 5))
N_IMAGES = 250
IMAGENET_CELLS = 5600  # 1000 + 200 of every 1200 images, 50,000 images, 350 tables
IMAGENET_FORWARDS = 35e6
GPU_IMAGES_PER_S = 12_400  # ResNet-50, 224 px, bf16: an assumption, not measured here


@dataclass(frozen=True)
class MadeUp:
    """Columns that are alike in all cells of this worker."""

    columns: schema.Columns


_MADE_UP: list[MadeUp] = []


def load(_: Cell, __: Place | None) -> MadeUp:
    """Outcomes like those of a search: most right, some not."""
    if not _MADE_UP:
        random = np.random.default_rng(0)
        label = random.integers(0, 1000, N_IMAGES)
        wrong = random.integers(0, 1000, (N_IMAGES, len(TABLES)))
        predicted = np.where(random.random(wrong.shape) < 0.7, label[:, None], wrong)
        n_tables = len(TABLES)
        _MADE_UP.append(
            MadeUp(
                {
                    "image": np.arange(N_IMAGES).repeat(n_tables),
                    "label": label.repeat(n_tables),
                    "undefended": predicted[:, 0].repeat(n_tables),
                    "table": schema.tiled([table.name for table in TABLES], N_IMAGES),
                    "pattern": schema.tiled([3] * n_tables, N_IMAGES),
                    "qs_of": schema.tiled([16] * n_tables, N_IMAGES),
                    "qs_af": schema.tiled([table.qs_af for table in TABLES], N_IMAGES),
                    "predicted": predicted.flatten(),
                    "decided": [None] * predicted.size,
                }
            )
        )
    return _MADE_UP[0]


def evaluate(_: Cell, made_up: MadeUp) -> schema.Columns:
    """Nothing is computed."""
    return made_up.columns


STUDY = Study("scale", 1, Cell, Row, load, evaluate, digest)


def cells(n_cells: int) -> Iterator[Cell]:
    """As many cells, each of a block of its own."""
    for i in range(n_cells):
        yield Cell(
            data="made-up", side=224, fingerprint="f" * 64, model="resnet50", seed=0,
            precision="bf16", weights="w" * 64, attack="fgsm", eps_255=2.0, split="search",
            subject="benign", piece="p" * 64, first=N_IMAGES * i, count=N_IMAGES,
            tables=tuple(table.name for table in TABLES),
        )  # fmt: skip


def rss_mib() -> float:
    """This process's memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


@contextlib.contextmanager
def watched(every_s: float = 1.0) -> Iterator[list[float]]:
    """The driver's memory, second by second."""
    seen, done = [rss_mib()], threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            seen.append(rss_mib())

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    done.set()
    thread.join()


def read_back(store: Store) -> tuple[int, int]:
    """All rows, as a stream, for they are more than memory holds: how many, and how many right."""
    rows = ds.dataset(store.root.path(store.folder(STUDY.name, "scale")))
    n_rows = n_right = 0
    for batch in rows.to_batches(columns=["label", "predicted"]):
        n_rows += len(batch)
        n_right += pc.sum(pc.equal(batch["label"], batch["predicted"])).as_py() or 0
    return n_rows, n_right


def estimate(cells_per_s: float) -> None:
    """The full ImageNet search, by arithmetic."""
    cell_gpu_s = IMAGENET_FORWARDS / GPU_IMAGES_PER_S / IMAGENET_CELLS
    print(f"full ImageNet search, {IMAGENET_CELLS} cells of {cell_gpu_s:.2f} GPU seconds at "
          f"{GPU_IMAGES_PER_S} images/s (assumed), driver {cells_per_s:.0f} cells/s:")  # fmt: skip
    for n_gpus in (1, 8, 64, 512):
        compute_s = IMAGENET_CELLS * cell_gpu_s / n_gpus
        driver_s = IMAGENET_CELLS / cells_per_s
        first = "the GPUs" if compute_s > driver_s else "the driver"
        print(f"  {n_gpus:4d} GPUs: compute {compute_s:7.1f} s, driver {driver_s:5.1f} s; "
              f"the bottleneck is {first}")  # fmt: skip
    print(f"  the driver is the first bottleneck above {cells_per_s * cell_gpu_s:.0f} GPUs")


def main() -> int:
    """Run, read back, estimate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100_000)
    n_cells = parser.parse_args().cells
    kept = Path("results/out/bench")
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as folder:
        engine = Engine(Store(Root(folder)), gpus=0.0)
        engine.start()
        few = Grid(STUDY.cell_id, cells(100))
        engine.sweep(STUDY, few, "warm", label="workers start")
        tally = Tally(TABLES, N_IMAGES * n_cells, 1, 1.0)
        with watched() as memory:
            plan = Grid(STUDY.cell_id, cells(n_cells), watch=tally.add)
            planned_mib = rss_mib() - memory[0]
            start, start_cpu = time.perf_counter(), time.process_time()
            outcome = engine.sweep(STUDY, plan, "scale", label="scale", state={})
            wall_s, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
        engine.stop()
        assert (outcome.n_run, outcome.failed) == (n_cells, {})
        start = time.perf_counter()
        n_rows, n_right = read_back(engine.store)
        made_up = load(next(cells(1)), None).columns
        assert n_rows == N_IMAGES * len(TABLES) * n_cells
        assert n_rows == sum(c.n_benign for c in tally.counts.values())
        assert n_right == n_cells * (made_up["label"] == made_up["predicted"]).sum()
        print(f"{n_cells} cells, {n_rows} rows in {wall_s:.0f} s, {1000 * cpu_s / n_cells:.2f} ms "
              f"of the driver's CPU each; two columns read back in "
              f"{time.perf_counter() - start:.0f} s; the plan holds {planned_mib:.0f} MiB",
        )  # fmt: skip
    holds = claim("cells per second", n_cells / wall_s, 500, at_most=False)
    grown = max(memory) - memory[0]
    holds &= claim("driver's memory above its start, MiB", grown, 300)
    print(f"the driver alone, were the workers elsewhere: {n_cells / cpu_s:.0f} cells/s")
    estimate(n_cells / wall_s)
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
