"""A card's first hour: what was predicted, beside what is measured.

    python benchmarks/first_hour.py [cuda|cpu]    # make gpu; cpu: the same in small

Predictions were counted from operations and bytes before any card had run this code, +-40 % for
times; "seen" is what the first card, an H200, then gave, and waits are those that it has shown.
Where a time misses by more than 2, measure the card's own ceilings (a copy of 1 GB, a product of
4096 in float64 and float32) before changing code. Writes benchmarks/results/CARD.md.
"""

import hashlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from begin import words
from torch import nn
from torchvision import models

from core import attacks, codec, training
from core.codec import fused, qtable, scoring
from core.data import open_data
from core.defences import Ensemble, TableDefence, defence_by_name
from core.defences.ensemble import Member
from core.models.folding import folded
from core.seeds import generator
from core.training.noisy import NoisyStep
from search.cluster import card, provenance
from search.engine.task import settle_arithmetic

HERE = Path(__file__).parent
DEVICE = torch.device((words("cuda", "cpu") or ["cuda"])[0])
GPU = DEVICE.type == "cuda"
TABLE = qtable.by_name("k3-of16-af116")
Finding = tuple[str, str, str]  # what, predicted, measured


def median_ms(work: Callable[[], object], n: int = 5) -> float:
    """Median wall time after a warm-up, the device awaited."""
    walls = []
    for _ in range(n + 1):
        start = time.perf_counter()
        work()
        if GPU:
            torch.cuda.synchronize()
        walls.append(1e3 * (time.perf_counter() - start))
    return statistics.median(walls[1:])


def waits(work: Callable[[], object]) -> str:
    """How often the host waits for the device."""
    if not GPU:
        return "waits not counted"
    work()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        work()
        torch.cuda.set_sync_debug_mode("default")
    waited = [one for one in said if "synchronizing CUDA operation" in str(one.message)]
    return f"{len(waited)} waits"


def peak(work: Callable[[], object]) -> str:
    """The most memory that the work takes."""
    if not GPU:
        return "memory not measured"
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work()
    return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"


def exactness(images: torch.Tensor) -> Iterator[Finding]:
    """The same pictures as on the CPU."""
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).to(DEVICE)
    for what, predicted, of in (
        ("`/ 255`", "126 (CPU: 0)", lambda x: x.float() / 255),
        ("`to_pixels`", "0", codec.to_pixels),
    ):
        n_other = int((of(levels) * 255 != levels).sum())
        yield f"levels that are not whole after {what}", predicted, str(n_other)
    there, pixels, n = images.to(DEVICE), codec.to_pixels(images), len(images)
    for name in ("k3-of16-af116", "ijg75"):
        defence = TableDefence(qtable.by_name(name))
        want = defence(images)
        got = defence.to(DEVICE)(there).cpu()
        n_other = int((got != want).flatten(1).any(1).sum())
        yield f"{name}: pictures that differ from the CPU's", "0", f"{n_other} of {n}"
    if GPU:
        made = [make(*many(images)).cpu() for make in (fused.launched, fused.plain)]
        n_other = int((made[0] != made[1]).flatten(1).any(1).sum())
        yield "fused and plain codec: pictures that differ", "0", f"{n_other} of {len(made[0])}"
    for name in ("jpeg75", "jpeg75-444", "shield", "tvm"):
        of, draws = defence_by_name(name), partial(lambda k: [generator(0, i) for i in range(k)], n)
        want = of(pixels, draws())
        gap = 255 * (of.to(DEVICE)(codec.to_pixels(there), draws()).cpu() - want).abs().max()
        predicted = "0.01 or less" if name == "tvm" else "0"
        yield f"{name}: largest difference from the CPU's, levels", predicted, f"{float(gap):.6f}"
    noise = torch.randn(64, 3, 32, 32, generator=generator(0, "noise"))
    digest = hashlib.sha256(noise.numpy().tobytes()).hexdigest()[:16]
    yield "noise of training, SHA-256", "one value everywhere", digest


def many(images: torch.Tensor) -> tuple[Any, ...]:
    """Coefficients and tables, each image under each: what `core.codec.fused` takes."""
    tables = ["k3-of16-af116", "ijg75", "ijg10", "uniform1"]
    steps = torch.stack([qtable.by_name(name) for name in tables]).to(DEVICE)
    pair = torch.arange(len(images) * len(tables), device=DEVICE)
    values = codec.coefficients(images.to(DEVICE))
    return values, steps, pair // len(tables), pair % len(tables), (224, 224)


def bits_twice(network: nn.Module, pixels: torch.Tensor) -> Iterator[Finding]:
    """Whether the same work gives the same bits."""
    data, states = open_data("digits", seed=0), []
    for _ in range(2):
        model, _ = training.fit(data, "small_resnet", epochs=1, seed=0, device=DEVICE)
        states.append(torch.cat([p.detach().flatten().cpu() for p in model.parameters()]))
    n_other = int((states[0] != states[1]).sum())
    yield "training twice: weights that differ", "0", f"{n_other} of {len(states[0])}"
    labels, how = (
        torch.arange(len(pixels), device=DEVICE),
        {"eps_255": 2, "step_255": 0.5, "n_steps": 3},
    )
    one, two = (attacks.ifgsm(network, pixels, labels, **how) for _ in range(2))
    yield (
        "I-FGSM on ResNet-50 twice: values that differ",
        "0, or few (max-pooling)",
        str(int((one != two).sum())),
    )


def times(network: nn.Module, pixels: torch.Tensor, images: torch.Tensor) -> Iterator[Finding]:
    """Milliseconds a picture at 224 px."""
    k = len(pixels)
    for layout, kind in (("NCHW", torch.contiguous_format), ("NHWC", torch.channels_last)):
        network.to(memory_format=kind)
        with torch.inference_mode():
            each = median_ms(partial(network, pixels)) / k
        seen = {"NCHW": "0.31", "NHWC": "0.37"}[layout]
        yield (
            f"ResNet-50, float32, {layout}, ms",
            f"A10G 0.74, L4 1.15, A100 0.82, H100 0.26; seen: H200 {seen}",
            f"{each:.3f}",
        )
    given = many(images)
    ways = {"unfused": fused.plain} | ({"fused": fused.launched} if GPU else {})
    said = {
        "jpeg75": "A10G 0.20, L4 0.37, A100 0.07, H100 0.03; seen: H200 0.041; 0 waits",
        "shield": "A10G 0.8, L4 1.5, A100 0.3, H100 0.13; seen: H200 0.22; 1 wait",
        "tvm": "A10G 8, L4 16, A100 3, H100 1.5; seen: H200 1.1; 5 waits",
        "smooth8": "0.7 (drawn on the CPU); seen: 0.73; 1 wait",
    }
    one = {
        "unfused": "A10G 0.11, L4 0.16, A100 0.02, H100 0.01; seen: H200 0.0062; 0 waits",
        "fused": "A10G 0.08, L4 0.09, A100 0.01, H100 0.003; seen: H200 0.0030; 0 waits",
    }
    for way, make in ways.items():
        one_table = partial(make, *given)
        each = median_ms(one_table) / len(given[2])
        yield f"one table, {way}, ms", one[way], f"{each:.4f}, {waits(one_table)}"
    for name, predicted in said.items():
        defence = defence_by_name(name).to(DEVICE)

        def work(of: nn.Module = defence) -> torch.Tensor:
            with torch.inference_mode():
                made: torch.Tensor = of(pixels, [generator(0, i) for i in range(k)])
            return made

        yield f"{name}, ms", predicted, f"{median_ms(work, 3) / k:.3f}, {waits(work)}"


def work_of_cells(
    network: nn.Module, pixels: torch.Tensor, images: torch.Tensor
) -> Iterator[Finding]:
    """The search, training and the white box."""
    tables = [
        qtable.Defensive(pattern=3, qs_of=16, qs_af=q).table()
        for q in range(1, 122, 5 if GPU else 60)
    ]
    search = partial(scoring.predict, network, images.to(DEVICE), tables)
    yield (
        "search of all tables on the pictures",
        "5 GiB; seen: 0.5 s, 3.3 GiB; 6 waits, of a cell, not of a batch",
        f"{median_ms(search, 1) / 1e3:.1f} s, {peak(search)}, {waits(search)}",
    )
    labels = torch.zeros(len(pixels), dtype=torch.int64, device=DEVICE)
    model = models.resnet50().to(DEVICE).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    step = NoisyStep(table=TABLE, sigma_255=8.0, xi=0.5, generator=generator(0))
    train = partial(step, model, optimiser, pixels, labels)
    yield (
        f"a noisy step of ResNet-50, {len(pixels)} + {len(pixels)} pictures",
        "of 64 + 64: A10G 400 ms, L4 650, A100 360, H100 120; 11 GiB; seen: H200 222",
        f"{median_ms(train, 2):.0f} ms, {peak(train)}",
    )
    names = [f"k3-of16-af116@q{quality}" for quality in (90, 70, 50, 30)]
    members = [Member(name, network, qtable.by_name(name)) for name in names]
    five = Ensemble([Member("M", network, None), *members]).to(DEVICE)
    white = partial(attacks.ifgsm, five.log_mean, pixels, labels, eps_255=2, step_255=1, n_steps=1)
    yield (
        "one white-box step through five",
        "of 64: 13 GiB; seen: H200 302 ms",
        f"{median_ms(white, 2):.0f} ms, {peak(white)}",
    )


def commands() -> Iterator[Finding]:
    """Whole programs."""
    gpus = ["--gpus", "1" if GPU else "0"]
    python, jobs = sys.executable, HERE.parent / "jobs"
    with tempfile.TemporaryDirectory() as folder:
        listed = []
        for run in ("a", "b"):
            store = Path(folder) / run
            command = [python, jobs / "qtable_search.py", "--smoke", *gpus, "--store", store]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            listed.append(sorted(path.name for path in (store / "bank").glob("*")))
        yield "a search's smoke run: exit code", "0", str(done.returncode)
        same = "the same names" if listed[0] == listed[1] else "other names"
        yield "two searches in two stores: files of the bank", "the same names", same
    doctor = subprocess.run(
        [python, "-m", "search", "doctor", *gpus], capture_output=True, text=True, check=False
    )
    line = next((li for li in doctor.stdout.splitlines() if " GPU" in li), "no line on GPUs")
    yield "doctor", "memory, capability, driver", re.sub(r"\s+", " ", line)


def main() -> int:
    """Everything; 1 where something is not 0 that must be."""
    if GPU and not torch.cuda.is_available():
        print("no GPU here: nothing measured; `first_hour.py cpu` runs through it in small")
        return 0
    settle_arithmetic()
    it, n, holds = card.look(), 64 if GPU else 4, True
    images, _ = open_data("photos", side=224, seed=0).batch("search", range(n))
    pixels = codec.to_pixels(images.to(DEVICE))
    network = folded(models.resnet50().eval()).requires_grad_(requires_grad=False).to(DEVICE)
    name = it.words if GPU else provenance.hardware("cpu")
    lines = [
        f"# {name}",
        "",
        f"{provenance.versions()}, commit {provenance.commit()}",
        "",
        "| what | predicted | measured |",
        "|---|---|---|",
    ]
    print(*lines, sep="\n")
    parts = (
        exactness(images),
        bits_twice(network, pixels),
        times(network, pixels, images),
        work_of_cells(network, pixels, images),
        commands(),
    )
    for finding in (found for part in parts for found in part):
        lines.append(f"| {' | '.join(finding)} |")
        print(lines[-1], flush=True)
        _, predicted, measured = finding
        holds &= predicted != "0" or float(measured.split()[0]) == 0
    out = (
        HERE / "results" / f"{re.sub('[^a-z0-9]+', '-', name.split(',')[0].lower()).strip('-')}.md"
    )
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written to {out}")
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
