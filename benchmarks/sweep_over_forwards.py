"""The whole exhaustive sweep against the bare network over all image-table pairs.

Both use two Ray workers of one thread each and the same images. The sweep is everything from the
first cell to the last stored row: codec, bookkeeping, Ray, Parquet. The bare side is only the
time inside the network, shared evenly between two workers. The ratio is below 1 because
identical pictures are classified once.
"""

import sys
import time
from dataclasses import replace

from common import Bench, claim, prepare

from jobs import qtable_search
from search import stages
from search.plan import Grid
from search.study import Study

SIZES = {
    "digits": (0.5, ("--data", "digits", "--eps-255", "4")),
    "photos-32": (0.6, ("--data", "photos", "--benign", "250", "--adversarial", "50",
                        "--report-benign", "50", "--report-adversarial", "10")),
    "photos-224": (0.95, ("--data", "photos", "--side", "224", "--benign", "20", "--adversarial",
                          "4", "--report-benign", "20", "--report-adversarial", "4", "--epochs",
                          "1", "--block", "5")),
}  # fmt: skip


def bare(cell: qtable_search.Cell, inputs: tuple) -> dict:
    """The network alone, once per table, on the undefended images."""
    images, network = inputs
    pixels = stages.codec.to_pixels(images.images)
    start = time.perf_counter()
    with stages.torch.inference_mode():
        for _ in cell.tables:
            for part in stages.torch.split(pixels, 256):
                network(part)
    forwards_us = round(1e6 * (time.perf_counter() - start))
    return {"image": [0], "label": [0], "undefended": [0], "table": [""], "pattern": [None],
            "qs_of": [None], "qs_af": [None], "predicted": [forwards_us]}  # fmt: skip


BARE = Study("bare", 1, qtable_search.Cell, qtable_search.Row, qtable_search.load, bare)


class Timed(Grid):
    """Sums the time inside the network per worker process."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.forwards_s = 0.0

    def tell(self, cell_id: str, rows: object) -> bool:
        """Add what the cell measured."""
        self.forwards_s += rows.column("predicted")[0].as_py() / 1e6
        return super().tell(cell_id, rows)


def warm(bench: Bench) -> None:
    """Let both workers import torch and load the network before any clock runs."""
    cells = [replace(cell, tables=cell.tables[:1]) for cell in bench.cells()[:8]]
    plan = Grid(BARE.cell_id, [replace(cell, seed=cell.seed + i) for i, cell in enumerate(cells)])
    bench.engine.sweep(BARE, plan, f"warm-{time.time_ns()}", label="warm")


def main() -> int:
    """Bare, sweep, bare again: the mean of the two bare runs meets drifting clocks."""
    holds = True
    for name in sys.argv[1:] or SIZES:
        limit, flags = SIZES[name]
        bench = prepare(*flags)
        bench.engine.start()
        warm(bench)
        walls = []
        for _ in range(2):
            timed = Timed(BARE.cell_id, bench.cells())
            bench.engine.sweep(BARE, timed, f"bare-{time.time_ns()}", label="bare")
            walls.append(timed.forwards_s / 2)
            if len(walls) == 1:
                start = time.perf_counter()
                plan = Grid(qtable_search.SEARCH.cell_id, bench.cells())
                bench.engine.sweep(
                    qtable_search.SEARCH, plan, f"bench-{time.time_ns()}", label="sweep"
                )
                sweep_s = time.perf_counter() - start
        bare_s = sum(walls) / 2
        print(f"{name}: {bench.n_pairs()} pairs, sweep {sweep_s:.1f} s, bare {walls[0]:.1f} and "
              f"{walls[1]:.1f} s")  # fmt: skip
        holds &= claim(f"{name}: sweep / bare forwards", sweep_s / bare_s, limit)
        bench.engine.stop()
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
