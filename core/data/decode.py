"""From an image file of any kind to a square of 8-bit RGB."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from core.errors import InputError
from core.standins import stand_in

MAX_ASPECT = 4  # longer images lose their ends before resizing: they lie outside the centre anyway
AGAIN = "copy or fetch the file again, it may be truncated; or move it out of the folder"
EIGHT_BITS = "convert it to 8-bit RGB, by a rule that you choose"


def decode_square(file: Path | io.BytesIO, side: int, *, address: str = "") -> np.ndarray:
    """The centre of an image file as uint8 (side, side, 3).

    EXIF orientation is applied. Gray, palette, CMYK, YCbCr and 16-bit images become 8-bit RGB (gray
    of 16 bits is divided by 257, of 12 by 4095/255; of 16-bit colour the high byte counts);
    transparent parts become white; an animation gives its first frame. The shorter side is resized
    to `round(side * 256 / 224)`, bilinear with antialiasing, and the centre cropped, as torchvision
    evaluates ImageNet networks. An image of exactly side x side is taken as it is. InputError,
    naming the file's `address` (its path unless given), if it is missing, truncated, damaged,
    empty, larger than Pillow opens, or of unknown range or colours (floats, 32-bit, Lab).
    """
    address = address or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, or of size: the limit still holds
            with Image.open(file) as image:
                raw = str(image.tile[0][3]) if image.tile else ""  # such as "L;2", or a tuple of it
                image.load()
                rgb = _rgb(ImageOps.exif_transpose(image), image.format or "", raw)
    except InputError as cause:
        raise unreadable(address, *str(cause).split("\nHint: ")) from cause
    except Image.DecompressionBombError as cause:
        found = str(cause).partition(", could be")[0]
        raise unreadable(address, found, "it is too large: shrink it first") from cause
    except Exception as cause:  # each kind of file fails in ways of its own
        found, hint = _stand_in(file) or (str(cause).replace(repr(file), repr(address)), AGAIN)
        raise unreadable(address, found or type(cause).__name__, hint) from cause
    return np.asarray(_centre(rgb, side))


def unreadable(address: str, found: str, hint: str = AGAIN) -> InputError:
    """The error of an image that is none."""
    return InputError(f"expected a readable image at {address}, got: {found}\nHint: {hint}.")


def _stand_in(file: Path | io.BytesIO) -> tuple[str, str] | None:
    """What the file is instead of an image, where that is known."""
    if isinstance(file, io.BytesIO):
        return stand_in(file.getvalue()[:200])
    try:
        with file.open("rb") as content:
            return stand_in(content.read(200))
    except PermissionError:
        return "this user may not read it", "give the right to read it"
    except (OSError, ValueError):
        return None


def _rgb(image: Image.Image, kind: str, raw: str) -> Image.Image:
    """8-bit RGB whatever the mode was; `raw` is how a file of that kind stores its samples."""
    if 0 in image.size:
        raise InputError(f"{image.size[0]} x {image.size[1]} pixels\nHint: {AGAIN}")
    clear = _cleared(image, raw)
    if image.mode.startswith("I"):  # "I;16" and its byte orders, or "I" from 16-bit PGM and PNG
        if image.mode == "I" and kind not in ("PNG", "PPM"):
            raise InputError(f"whole numbers of unknown range\nHint: {EIGHT_BITS}")
        most = 4095 if "I;12" in raw else 65535
        levels = np.asarray(image).astype(np.float64) / (most / 255)
        image = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise InputError(f"32-bit floats, whose range is not known\nHint: {EIGHT_BITS}")
    if image.mode in ("LAB", "HSV"):
        raise InputError(f"colours in {image.mode}, not RGB\nHint: {EIGHT_BITS}")
    if clear is not None:
        image = image.convert("RGB")
        image.paste((255, 255, 255), mask=Image.fromarray(clear))
        return image
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        colour = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")
        white = Image.new("RGBA", colour.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, colour)
    return image.convert("RGB")


def _cleared(image: Image.Image, raw: str) -> np.ndarray | None:
    """Where a PNG of 2, 4 or 16 bits a sample has its transparent colour; Pillow knows 1 and 8.

    Of 16-bit colour only high bytes are left, so what differs in the low ones alone counts too.
    """
    key, samples = image.info.get("transparency"), np.asarray(image)
    clear: np.ndarray | None = None
    if isinstance(key, int) and image.mode.startswith("I"):
        clear = samples == key
    elif isinstance(key, int) and (bits := {"L;2": 2, "L;4": 4}.get(raw)):
        clear = samples == key * (255 // (2**bits - 1))
    elif isinstance(key, tuple) and raw.startswith("RGB;16"):
        clear = (samples == [part >> 8 for part in key]).all(-1)
    return clear


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
