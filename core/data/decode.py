"""From an image file of any kind to a square of 8-bit RGB."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from core.errors import InputError

MAX_ASPECT = 4  # longer images lose their ends before resizing: they lie outside the centre anyway
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)


def decode_square(file: Path | io.BytesIO, side: int, *, address: str = "") -> np.ndarray:
    """The centre of an image file as uint8 (side, side, 3).

    EXIF orientation is applied. Gray, palette, CMYK and 16-bit images become 8-bit RGB (16 bits
    are divided by 257); transparent parts become white; an animation gives its first frame. The
    shorter side is resized to `round(side * 256 / 224)`, bilinear with antialiasing, and the
    centre cropped, as torchvision evaluates ImageNet networks. An image of exactly side x side is
    taken as it is. InputError, naming the file's `address` (its path unless given), if it is
    missing, truncated, damaged or of a kind without a known range (32-bit floats).
    """
    address = address or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, or of size: the limit still holds
            with Image.open(file) as image:
                image.load()
                rgb = _rgb(ImageOps.exif_transpose(image))
    except (*DAMAGED, Image.DecompressionBombError, zlib.error) as cause:
        raise unreadable(address, str(cause).replace(repr(file), repr(address))) from cause
    return np.asarray(_centre(rgb, side))


def unreadable(address: str, found: str) -> InputError:
    """The error of an image that is none."""
    return InputError(
        f"expected a readable image at {address}, got: {found}\n"
        "Hint: remove the file or fetch it again; it may be truncated."
    )


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB whatever the mode was."""
    if image.mode.startswith("I"):  # "I;16" and its byte orders, or "I" from 16-bit PGM and PNG
        levels = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("32-bit floats, whose range is not known")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, colour)
    return image.convert("RGB")


def _centre(image: Image.Image, side: int) -> Image.Image:
    if image.size == (side, side):
        return image
    width, height = image.size
    most = MAX_ASPECT * min(width, height)  # else one 1 x 20000 image would be gigabytes
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)  # the same at both ends
    image = image.crop((left, top, width - left, height - top))
    shorter = round(side * 256 / 224)
    width, height = image.size
    scale = shorter / min(width, height)
    # torchvision's Resize truncates the longer side, its CenterCrop rounds the margin
    size = (max(shorter, int(width * scale)), max(shorter, int(height * scale)))
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    return image.crop((left, top, left + side, top + side))
