"""A step of noisy training against a plain step of the same network, side by side in one run.

Noisy training sees two images for one and passes one of them through the codec. A training is
made of steps of one kind, so a few of each kind alternate with a few of the other: a busy neighbour
slows both, and the first of each few, which finds the other kind's memory, does not count. The
process has the workers' settings of malloc. The ratio is that of the medians.
"""

import os
import statistics
import sys
import time

import torch
from begin import words
from common import claim

from core import seeds, training
from core.codec import qtable
from core.data import open_data
from core.training.epochs import BATCH_SIZE, Training
from core.training.noisy import NoisyStep
from core.training.steps import PlainStep, Step
from search.cluster.connection import WORKER_ENV

N_ROUNDS, N_STEPS = 5, 5  # of a kind before the other's turn


def main() -> int:
    """Digits and photographs at 32 px, or those named."""
    if os.environ | WORKER_ENV != dict(os.environ):  # malloc reads them when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENV)
    torch.set_num_threads(1)  # threads that wait for a busy neighbour measure the neighbour
    holds = True
    for name in words("digits", "photos") or ("digits", "photos"):
        data = open_data(name)
        images, labels = data.batch("train", range(BATCH_SIZE))
        pixels = images.float() / 255
        noise = seeds.generator(0, "noise")
        table = qtable.by_name("k3-of16-af51@q70")
        assert table is not None
        steps: dict[str, Step] = {
            "plain": PlainStep(),
            "noisy": NoisyStep(table=table, sigma_255=8.0, xi=0.9, generator=noise),
        }
        fresh = training.fresh(data, "small_resnet", 0)
        model = Training(fresh, data, step=steps["plain"], rate=lambda *_: 0.005).model.train()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9, nesterov=True)
        walls: dict[str, list[float]] = {kind: [] for kind in steps}
        for _ in range(N_ROUNDS):
            for kind, step in steps.items():
                taken = []
                for _ in range(N_STEPS):
                    start = time.perf_counter()
                    step(model, optimiser, pixels, labels)
                    taken.append(time.perf_counter() - start)
                walls[kind] += taken[1:]
        plain, noisy = (statistics.median(walls[kind]) for kind in steps)
        print(f"{name}: plain {1000 * plain:.1f} ms, noisy {1000 * noisy:.1f} ms a step")
        holds &= claim(f"noisy step / plain step, {name}", noisy / plain, 2.3)
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
