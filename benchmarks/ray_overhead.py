"""What Ray costs, and what a second worker brings, on cells of about a second.

The same cells, one thread each: in a plain loop in this process, on one Ray worker, on two. All
three are measured twice, in turn, and their means taken, since clocks drift. All sides have the
workers' settings of the memory allocator, which would else flatter Ray.
"""

import os
import sys
import tempfile
import time

import ray
import torch
from begin import words
from common import Bench, claim, plain_loop, prepare
from sweep_over_forwards import warm

from results.files import Root
from results.store import Store
from search.cluster.connection import WORKER_ENV
from search.engine.plan import Grid
from search.tables.plan import SEARCH


def on_ray(bench: Bench, n_workers: int) -> float:
    """Seconds that the sweep takes on so many warm workers."""
    ray.init(address="local", num_cpus=n_workers, logging_level="error", include_dashboard=False)
    bench.engine.gpus = 0.0
    for _ in range(n_workers):
        warm(bench)
    start = time.perf_counter()
    plan = Grid(SEARCH.cell_id, bench.cells())
    bench.engine.sweep(SEARCH, plan, f"bench-{time.time_ns()}", label="sweep")
    wall_s = time.perf_counter() - start
    ray.shutdown()
    return wall_s


def in_process(bench: Bench) -> float:
    """Seconds of a plain loop that also stores the rows."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Root(folder))
        plan = Grid(SEARCH.cell_id, bench.cells())
        return plain_loop(
            SEARCH, plan, bench.engine.store,
            keep=lambda rows: store.write(SEARCH.name, "plain", rows),
        )  # fmt: skip


def main() -> int:
    """Plain, one worker, two workers, and again."""
    if any(os.environ.get(name) != value for name, value in WORKER_ENV.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENV)
    bench = prepare(
        "--benign", "300", "--adversarial", "100", "--report-benign", "50", "--report-adversarial",
        "10", "--eps-255", "4", "--patterns", "1-4", "--block", "100",
    )  # fmt: skip
    bench.engine.stop()
    torch.set_num_threads(1)
    in_process(bench)  # warm
    rounds = [(in_process(bench), on_ray(bench, 1), on_ray(bench, 2)) for _ in range(2)]
    plain_s, one_s, two_s = (sum(walls) / len(rounds) for walls in zip(*rounds, strict=True))
    n_cells = len(bench.cells())
    print(f"{n_cells} cells of {plain_s / n_cells:.2f} s: plain {plain_s:.1f} s, one worker "
          f"{one_s:.1f} s, two {two_s:.1f} s")  # fmt: skip
    holds = claim("Ray's overhead: one worker / plain loop", one_s / plain_s, 1.05)
    return not (claim("one worker / two workers", one_s / two_s, 1.8, at_most=False) and holds)


if __name__ == "__main__":
    words()
    raise SystemExit(main())
