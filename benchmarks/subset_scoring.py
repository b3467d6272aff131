"""Scoring all 255 subsets from cached outputs against running the eight members once.

Images on which all members agree are not scored again. Outputs with a common part stand for those
of fine-tuned members, and what share agrees is printed. Outputs that agree on next to nothing, the
worst case, are timed beside them without a claim.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from begin import words
from common import claim

from core import models
from core.defences import subsets

N_IMAGES, N_MEMBERS, SIDE = 1000, 8, 32


def median_s(work: Callable[[], Any], n: int) -> float:
    """Seconds of CPU, the median of n: other work on the machine does not count."""
    walls = []
    for _ in range(n):
        start = time.process_time()
        work()
        walls.append(time.process_time() - start)
    return statistics.median(walls)


@torch.inference_mode()
def main() -> int:
    """Both on one thread, side by side."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.rand(N_IMAGES, 3, SIDE, SIDE)
    labels = torch.randint(10, (N_IMAGES,)).numpy()
    networks = [
        models.architecture("small_resnet", n_classes=10, channels=3, side=SIDE).eval()
        for _ in range(N_MEMBERS)
    ]

    def run() -> torch.Tensor:
        parts = [
            torch.cat([network(part).softmax(1) for part in images.split(64)])
            for network in networks
        ]
        return torch.stack(parts)

    networks_s = median_s(run, 3)
    holds = True
    for common in (20.0, 0.0):
        logits = common * torch.randn(1, N_IMAGES, 10) + torch.randn(N_MEMBERS, N_IMAGES, 10)
        outputs = logits.softmax(2).numpy()
        agree = (outputs.argmax(2) == outputs.argmax(2)[0]).all(0).mean()
        for rule in subsets.RULES:
            scoring_s = median_s(lambda o=outputs, r=rule: subsets.n_right(o, labels, rule=r), 9)
            ratio = networks_s / scoring_s
            print(f"{rule}, members agree on {100 * agree:.0f} %: 8 networks {networks_s:.2f} s, "
                  f"255 subsets {1000 * scoring_s:.1f} ms, ratio {ratio:.0f}")  # fmt: skip
            if common:
                holds &= claim(f"networks / subsets, {rule}", ratio, 500, at_most=False)
    return not holds


if __name__ == "__main__":
    words()
    sys.exit(main())
