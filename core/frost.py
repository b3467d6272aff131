"""The photographs of ice that the corruption "frost" lays over images; none is shipped here."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.data.bundled import bundled_file
from core.digests import digest
from core.errors import InputError

PACKAGE = ("imagecorruptions", "frost")
ENDINGS = (".png", ".jpg", ".jpeg")
N_TEXTURES = 5  # the authors' code draws the first five of six
SHRUNK = 5  # CIFAR-10-C's textures have a fifth of their side


def frost_folder(given: str | None) -> Path | None:
    """The folder that is given, else that of an installed package, else None.

    InputError where what is given holds no pictures.
    """
    if given is not None:
        folder = Path(given).expanduser()
        if not _files(folder):
            raise InputError(
                f"expected photographs of frost (PNG or JPEG) in {folder}, found none.\n"
                "Hint: the published ones are frost1.png .. frost6.jpg."
            )
        return folder
    for ending in ("frost1.png", "frost1.jpg"):
        try:
            return bundled_file(*PACKAGE, ending).parent
        except InputError:
            continue
    return None


@lru_cache(maxsize=2)
def frost_textures(folder: Path, kind: str) -> Sequence[Tensor]:
    """The first five pictures, uint8 [3, h, w], as a kind of severities has them.

    CIFAR-10-C's are shrunk to a fifth: every fifth pixel from the third, which is what OpenCV's
    linear interpolation takes. InputError for a file that is no picture.
    """
    textures = []
    for path in _files(folder)[:N_TEXTURES]:
        try:
            with Image.open(path) as picture:
                pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
        except OSError as cause:
            raise InputError(
                f"expected a picture in {path}, found none: {cause}.\nHint: copy it anew."
            ) from cause
        if kind == "cifar10-c":
            pixels = pixels[:, SHRUNK // 2 :: SHRUNK, SHRUNK // 2 :: SHRUNK]
        textures.append(pixels)
    return tuple(textures)


def frost_digest(folder: Path | None) -> str:
    """What the pictures are, for rows: a hash of their bytes; empty where there are none."""
    if folder is None:
        return ""
    files = [np.frombuffer(path.read_bytes(), dtype=np.uint8) for path in _files(folder)]
    return digest("frost", arrays=files[:N_TEXTURES])[:16]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
