"""On a GPU: what codec and bookkeeping cost beside the bare network.

ResNet-50 (random weights: speed does not depend on them) at 224 px, photographs under 25 tables.
The bare side classifies the very same distinct pictures, ready on the GPU. fp32 (no TF32) and bf16.
"""

import time
from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import torch
from begin import words
from common import claim
from torchvision import models

from core import codec
from core.codec import fused, qtable, scoring
from core.data import open_data

N_IMAGES, BATCH = 128, 256


def seconds(work: Callable[[], object]) -> float:
    """The best of three, the device awaited."""
    walls = []
    for _ in range(3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        walls.append(time.perf_counter() - start)
    return min(walls)


def main() -> int:
    """Both precisions."""
    precisions = words("bf16", "fp32") or ("bf16", "fp32")
    if not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return 0
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    images, _ = open_data("photos", side=224).batch("search", range(N_IMAGES))
    images = images.cuda()
    tables = [qtable.Defensive(pattern=3, qs_of=16, qs_af=q).table() for q in range(1, 122, 5)]
    network = models.resnet50().eval().cuda()
    holds = True
    for precision in precisions:
        layout = torch.contiguous_format if precision == "fp32" else torch.channels_last
        network.to(memory_format=layout)  # as the search does

        def classify(pixels: torch.Tensor, half: bool = precision == "bf16") -> torch.Tensor:
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
                return network(pixels).float()

        pictures: list[torch.Tensor] = []

        def keep(pixels: torch.Tensor, kept: list[torch.Tensor] = pictures) -> torch.Tensor:
            kept.append(codec.to_images8(pixels).cpu())
            return torch.zeros(len(pixels), 2, device="cuda")

        scoring.predict(keep, images, tables, batch_size=BATCH)
        ready = torch.cat(pictures)[: 4 * BATCH].cuda().float().div_(255)

        def bare(ready: torch.Tensor = ready) -> None:
            with torch.inference_mode():
                torch.cat([classify(part).argmax(1) for part in torch.split(ready, BATCH)]).cpu()

        n_forwards = sum(len(part) for part in pictures)
        bare(), scoring.predict(classify, images[:8], tables, batch_size=BATCH)
        bare_s = seconds(bare) * n_forwards / len(ready)
        ours = partial(scoring.predict, classify, images, tables, batch_size=BATCH)
        ours_s = seconds(ours)
        with patch.object(fused, "pictures", fused.plain):
            unfused_s = seconds(ours)
        gpu, rates = torch.cuda.get_device_name(), (n_forwards / bare_s, n_forwards / ours_s)
        print(f"{gpu}, {precision}: {n_forwards} distinct pictures")
        print("{:.0f} pictures/s bare, {:.0f} with codec and bookkeeping".format(*rates))
        print(f"scoring unfused: {unfused_s / bare_s:.2f} times the bare forwards")
        holds &= claim(f"{precision}: scoring / bare forwards", ours_s / bare_s, 1.10)
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
