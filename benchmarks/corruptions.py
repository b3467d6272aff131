"""All ten corruptions at 32 px: the published package image by image / ours in batches.

imagecorruptions is no dependency: this installs its last version with OpenCV, without what they
depend on, into a folder that is thrown away. It was written for older versions of its dependencies;
the names and the argument that these have lost since are lent to it. CPU seconds of one thread,
ImageNet-C's severities, the middle one of five.

    python benchmarks/corruptions.py
"""

import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import skimage.filters
import torch
from begin import words
from common import claim

from core.corruptions import corrupted
from core.data import open_data
from core.frost import frost_textures
from core.known import CORRUPTIONS

FOREIGN = ("imagecorruptions==1.1.2", "opencv-python-headless==4.12.0.88")
N_IMAGES, SEVERITY = 200, 3


def lend() -> None:
    """What the package imports and its dependencies no longer have."""
    resources = types.ModuleType("pkg_resources")
    resources.resource_filename = lambda name, path: str(  # type: ignore[attr-defined]
        Path(sys.modules[name].__file__ or "").parent / path
    )
    interpolation = types.ModuleType("scipy.ndimage.interpolation")
    interpolation.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    sys.modules |= {"pkg_resources": resources, "scipy.ndimage.interpolation": interpolation}
    plain = skimage.filters.gaussian

    def gaussian(image: Any, *, sigma: Any, multichannel: bool = False) -> Any:
        return plain(image, sigma=sigma, channel_axis=-1 if multichannel else None)

    skimage.filters.gaussian = gaussian
    vars(np)["float_"] = np.float64


def taken(work: Callable[[], object]) -> float:
    """Seconds of this one thread's CPU: the quicker of two."""
    walls = []
    for _ in range(2):
        start = time.process_time()
        work()
        walls.append(time.process_time() - start)
    return min(walls)


def main() -> int:
    """Both, corruption by corruption; the ratios of the sums."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--target",
            folder,
        ]
        subprocess.run([*command, *FOREIGN], check=True)
        sys.path.append(folder)
        lend()
        import cv2  # noqa: PLC0415 - installed meanwhile
        import imagecorruptions  # noqa: PLC0415

        cv2.setNumThreads(1)
        textures = frost_textures(Path(imagecorruptions.__file__).parent / "frost", "imagenet-c")
        images, _ = open_data("photos").batch("report", range(N_IMAGES))
        rows = images.permute(0, 2, 3, 1).numpy()
        ours, theirs = {}, {}
        for name in CORRUPTIONS:
            draws = [torch.Generator().manual_seed(i) for i in range(N_IMAGES)]
            ours[name] = taken(
                lambda name=name, draws=draws: corrupted(
                    images, name, SEVERITY, generators=draws, kind="imagenet-c", textures=textures
                )
            )
            theirs[name] = taken(
                lambda name=name: [imagecorruptions.corrupt(x, SEVERITY, name) for x in rows]
            )
            own_ms, their_ms = (1000 * each[name] / N_IMAGES for each in (ours, theirs))
            print(
                f"{name:16} {their_ms:6.3f} ms an image, ours {own_ms:6.3f}: "
                f"{their_ms / own_ms:5.1f} times",
                flush=True,
            )
    rest = [name for name in CORRUPTIONS if name != "frost"]
    ratio, without = (
        sum(theirs[n] for n in names) / sum(ours[n] for n in names) for names in (CORRUPTIONS, rest)
    )
    holds = claim("published / ours, ten corruptions", ratio, 10, at_most=False)
    return 0 if claim("the same without frost", without, 3, at_most=False) and holds else 1


if __name__ == "__main__":
    words()
    raise SystemExit(main())
