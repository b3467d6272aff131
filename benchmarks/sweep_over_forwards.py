"""The whole exhaustive sweep against the bare network over all image-table pairs.

Both use two Ray workers of one thread each and the same images. The sweep is everything from the
first cell to the last stored row: codec, bookkeeping, Ray, Parquet. The bare side is only the
time inside the network, shared evenly between two workers: as it was opened in batches of 256 (what
the claim is about), and, printed beside it, in batches of 64, which caches like better, both as
opened and as the sweep makes it ready (so much do identical pictures alone bring).
"""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from common import Bench, claim, prepare

from core import codec, models
from core.models import Blueprint, Normalised, architecture, save_checkpoint
from search.engine.plan import Grid
from search.engine.study import Place, Study
from search.inputs import loading
from search.tables.plan import SEARCH, Cell, Row

FEW = ("--benign", "250", "--adversarial", "50", "--report-benign", "50",
       "--report-adversarial", "10")  # fmt: skip
BATCH_SIZE = 256
SCREENED_LIMITS = {"resnet18": 0.45, "efficientnet_lite0": 0.72}
BARE = (  # how the bare network runs, the claim's last: nearest to the sweep
    {"opened": False, "batch_size": 64},
    {"opened": True, "batch_size": 64},
    {"opened": True, "batch_size": BATCH_SIZE},
)
SIZES = {
    "digits": (0.5, ("--data", "digits", *FEW)),
    "photos-32": (0.6, ("--data", "photos", "--benign", "500", "--adversarial", "100", *FEW[4:])),
    "photos-224": (0.95, ("--data", "photos", "--side", "224", "--benign", "40", "--adversarial",
                          "2", "--report-benign", "40", "--report-adversarial", "1",
                          "--patterns", "6", "--block", "4")),
}  # fmt: skip


def bare(batch_size: int, cell: Cell, inputs: tuple) -> dict:
    """The network alone, once per table, on the undefended images."""
    images, network = inputs
    pixels = codec.to_pixels(images.images)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in cell.tables:
            for part in torch.split(pixels, batch_size):
                network(part)
    forwards_us = round(1e6 * (time.perf_counter() - start))
    nothing: dict[str, list] = {"pattern": [None], "qs_of": [None], "qs_af": [None]}
    image = {"image": [0], "label": [0], "undefended": [0], "table": [""], "decided": [None]}
    return {**image, **nothing, "predicted": [forwards_us]}


def load_opened(cell: Cell, place: Place) -> tuple:
    """The cell's images, and the network as whoever opens it has it."""
    images, _ = loading.load_block(cell, place)
    return images, models.from_tensors(*place.bank.get(cell.weights))


def bare_study(*, opened: bool, batch_size: int) -> Study:
    """The bare network, as it was opened or as the sweep makes it ready."""
    load = load_opened if opened else loading.load_block
    return Study("bare", 1, Cell, Row, load, partial(bare, batch_size))


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
    first = [replace(cell, precision="fp32") for cell in bench.cells()[:8]]
    cells = [replace(cell, tables=cell.tables[:1]) for cell in first]
    study = bare_study(opened=False, batch_size=64)
    cells = [replace(cell, seed=cell.seed + i) for i, cell in enumerate(cells)]
    plan = Grid(study.cell_id, cells)
    bench.engine.sweep(study, plan, f"warm-{time.time_ns()}", label="warm")


def bare_s(bench: Bench, *, opened: bool, batch_size: int) -> float:
    """Seconds of bare forwards over all pairs, on two workers, in cells of up to a batch each."""
    study = bare_study(opened=opened, batch_size=batch_size)
    question = bench.again(block=BATCH_SIZE)
    plan, _ = replace(question, inputs=replace(question.inputs, precision="fp32")).plan()
    timed = Timed(study.cell_id, iter(plan.ask, None))
    bench.engine.sweep(study, timed, f"bare-{time.time_ns()}", label="bare")
    return timed.forwards_s / 2


def resnet18() -> Path:
    """A checkpoint of the smallest network made for 224 px, with random weights.

    Which weights does not change what a forward costs, and training it here would take an hour.
    """
    path = Path("results/out/bench/resnet18.safetensors")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        network = architecture("resnet18", n_classes=10, channels=3, side=224)
        blueprint = Blueprint(architecture="resnet18", n_classes=10, channels=3, side=224)
        mean = std = (0.5, 0.5, 0.5)
        save_checkpoint(path, Normalised(network, mean=mean, std=std, blueprint=blueprint))
    return path


def limit_of(words: list[str]) -> float:
    """What is claimed of a screened network."""
    named = [limit for name, limit in SCREENED_LIMITS.items() if name in " ".join(words)]
    return named[0] if named and "screened" in words else 1.05


def measured(name: str, bench: Bench, limit: float, *, ready: bool = False) -> bool:
    """Bare, sweep, bare again: the mean of two bare runs meets drifting clocks."""
    bench.engine.start()
    warm(bench)
    before = [bare_s(bench, **how) for how in BARE]
    start = time.perf_counter()
    plan = Grid(SEARCH.cell_id, bench.cells())
    bench.engine.sweep(SEARCH, plan, f"bench-{time.time_ns()}", label="sweep")
    sweep_s = time.perf_counter() - start
    after = [bare_s(bench, **how) for how in reversed(BARE)]
    made_ready, small, opened = ((x + y) / 2 for x, y in zip(before, after[::-1], strict=True))
    print(f"{name}: {bench.n_pairs()} pairs, sweep {sweep_s:.1f} s, bare {opened:.1f} s; in "
          f"batches of 64 {small:.1f} s (ratio {sweep_s / small:.3f}), made ready too "
          f"{made_ready:.1f} s (ratio {sweep_s / made_ready:.3f})", flush=True)  # fmt: skip
    bench.engine.stop()
    beside = made_ready if ready else opened
    return claim(f"{name}: sweep / bare forwards", sweep_s / beside, limit)


def main() -> int:
    """Every size, those that are named, or the search that flags say."""
    holds, words = True, sys.argv[1:]
    if any(word.startswith("-") for word in words):
        return not measured(" ".join(words), prepare(*words), limit_of(words), ready=True)
    for name in words or SIZES:
        limit, flags = SIZES[name]
        if name == "photos-224":
            flags = (*flags, "--model", f"checkpoint:{resnet18()}")
        holds &= measured(name, prepare(*flags), limit)
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
