"""The paper's codec: JPEG without colour transform, subsampling or entropy coder.

One 8x8 table serves every channel. Levels and coefficients are float64: on 8-bit images every step
is exact (see `core.codec.dct`): the same image and table give the same bits on every machine.

Beside it: libjpeg's own JPEG (`jpeg`), tables (`qtable`), many tables at once (`scoring`).

Source: "defensive quantization table" paper, section 3.1; ITU-T T.81 (1992), A.3.
"""

import torch
from torch import Tensor
from torch.nn import functional

from core.codec.dct import dct8, idct8
from core.codec.rounding import Rounding, of_quantiser, round_through
from core.constants import white
from core.errors import InputError
from core.shapes import Coefficients, Images, Images8, Levels, Pixels, QTable

_NEARLY_WHOLE = 2.0**-12  # of a level

__all__ = [
    "Rounding",
    "blocks",
    "coefficients",
    "compress",
    "decode",
    "planes",
    "quantise",
    "round_through",
    "said_of",
    "to_images8",
    "to_pixels",
]


def blocks(planes: Tensor) -> Levels:
    """Cut [n, c, h, w] samples in 0..255 into level-shifted [n, c, h/8, w/8, 8, 8] blocks.

    Sides that are no multiple of 8 are padded by repeating the last row or column, as
    libjpeg's encoder does (jcprepct.c, expand_bottom_edge; jccolor's right edge likewise).
    """
    height, width = planes.shape[-2:]
    levels = planes.to(torch.float64)
    if height % 8 or width % 8:
        levels = functional.pad(levels, (0, -width % 8, 0, -height % 8), mode="replicate")
    n, c, rows, columns = levels.shape
    return levels.reshape(n, c, rows // 8, 8, columns // 8, 8).transpose(3, 4) - 128


def planes(levels: Levels, height: int, width: int) -> Tensor:
    """Inverse of `blocks`: [n, c, height, width] samples around 0..255, padding cropped."""
    return _joined(levels, height, width) + 128


def _joined(blocks: Tensor, height: int, width: int) -> Tensor:
    return blocks.transpose(3, 4).flatten(4).flatten(2, 3)[..., :height, :width]


def coefficients(images: Images) -> Coefficients:
    """The DCT of every block of 8-bit images or pixels: float64 [n, c, rows, columns, 8, 8].

    Pixels within 2**-12 of a whole level are that level, whoever divided by 255 and how: exact ties
    of the transform would fall the other way for an error of one ulp. Their derivative stays.
    """
    samples = images if images.dtype == torch.uint8 else _levels(images)
    return dct8(blocks(samples))


def _levels(pixels: Pixels) -> Tensor:
    samples = pixels.to(torch.float32) * 255
    with torch.no_grad():
        error = samples.round() - samples
        error = torch.where(error.abs() <= _NEARLY_WHOLE, error, 0)
    return samples + error


def quantise(
    values: Coefficients, steps: Tensor, *, rounding: Rounding = torch.round
) -> Coefficients:
    """`round(c / step) * step`; `steps` is a QTable or broadcasts against the coefficients.

    Ties go to the even multiple. `rounding` is torch.round, or a function with the same
    value and another derivative.
    """
    return of_quantiser(rounding)(values / steps) * steps


def decode(values: Coefficients, height: int, width: int) -> Pixels:
    """Dequantised coefficients to pixels: float32 in [0, 1], whole multiples of 1/255."""
    samples = idct8(values).add_(128).round_().to(torch.float32)
    return _joined(samples, height, width).clamp_(0, 255).div_(white(values.device))


def compress(pixels: Pixels, table: QTable, *, rounding: Rounding = round_through) -> Pixels:
    """Pixels through the codec, float32 in [0, 1] in and out, whole multiples of 1/255 out.

    `rounding` says what the derivative of both roundings is (of coefficients and of samples); the
    value is the same with all of `core.codec.rounding`. torch.round's own is zero.
    """
    height, width = pixels.shape[-2:]
    values = coefficients(pixels)
    rounded = quantise(values, table.to(values), rounding=rounding)
    samples = rounding(planes(idct8(rounded), height, width)).clamp(0, 255)
    return (samples / white(samples.device)).to(torch.float32)


def to_pixels(images: Tensor) -> Pixels:
    """8-bit images as float32 pixels in [0, 1]; what is pixels already stays.

    Times 255 in float32, each gives its whole level again, exactly, on every device.
    InputError for images of another type.
    """
    if images.is_floating_point():
        return images
    if images.dtype != torch.uint8:
        raise InputError(
            f"expected images of uint8 or floating point, got {said_of(images)}.\n"
            "Hint: whole levels 0..255 are images.to(torch.uint8)."
        )
    return images.to(torch.float32).div_(white(images.device))


def said_of(images: object) -> str:
    """What somebody gave for images, in a few words for an error."""
    if isinstance(images, Tensor):
        return f"{images.dtype} {list(images.shape)}"
    return f"{type(images).__module__.partition('.')[0]}'s {type(images).__name__}"


def to_images8(pixels: Pixels) -> Images8:
    """The nearest 8-bit images."""
    return (pixels * 255).round().clamp(0, 255).to(torch.uint8)
