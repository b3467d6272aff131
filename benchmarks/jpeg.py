"""Batched JPEG against Pillow's libjpeg in a pool of processes, side by side on the same pictures.

Both give the same bytes (checked here). Pillow stays on the CPU, one picture at a time, and starts
with its pictures as arrays; its libjpeg is hand-vectorised machine code. Ours is tensors in and
tensors out, on the device where the network is, and takes gradients.
"""

import io
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from begin import words
from common import claim
from PIL import Image

from core import codec
from core.data import open_data
from core.defences import defence_by_name

N_PROCESSES, QUALITY, N_ROUNDS = 2, 75, 5
SIDES = {32: (1024, 0.15), 224: (64, 0.02)}  # side: images, share of Pillow's pace on a CPU


def through_libjpeg(images: np.ndarray) -> np.ndarray:
    """Each of [n, h, w, 3] pictures through Pillow."""
    decoded = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=QUALITY)
        decoded.append(np.asarray(Image.open(file)))
    return np.stack(decoded)


def seconds(work: Callable[[], object]) -> float:
    """The best of some rounds, the device awaited."""
    walls = []
    for _ in range(N_ROUNDS):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        walls.append(time.perf_counter() - start)
    return min(walls)


def main() -> int:
    """Both sides, 4:2:0."""
    defence, holds = defence_by_name(f"jpeg{QUALITY}"), True
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with ProcessPoolExecutor(N_PROCESSES) as pool:
        for side, (n_images, share) in SIDES.items():
            images, _ = open_data("photos", side=side).batch("search", range(n_images))
            arrays = np.array_split(images.permute(0, 2, 3, 1).numpy(), N_PROCESSES)
            theirs = np.concatenate(list(pool.map(through_libjpeg, arrays)))
            theirs_s = seconds(lambda a=arrays: list(pool.map(through_libjpeg, a)))
            for device in devices:
                pixels, there = codec.to_pixels(images).to(device), defence.to(device)
                ours = codec.to_images8(there(pixels)).permute(0, 2, 3, 1).cpu().numpy()
                assert np.array_equal(ours, theirs)
                ours_s = seconds(lambda p=pixels, d=there: d(p))
                paces = (n_images / ours_s, n_images / theirs_s)
                print("{} px, {}: ours {:.0f} images/s, Pillow {:.0f}".format(side, device, *paces))
                if device == "cpu":
                    what = f"{side} px: our pace / Pillow's on {N_PROCESSES} processes"
                    holds &= claim(what, theirs_s / ours_s, share, at_most=False)
    return not holds


if __name__ == "__main__":
    words()
    raise SystemExit(main())
