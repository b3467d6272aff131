"""JPEG in YCbCr, as libjpeg encodes and decodes it: the same bytes for every picture and table.

That is libjpeg-turbo with its defaults, which are Pillow's: the accurate integer DCT, 4:2:0 with
the triangle filter, tables of the IJG. The entropy coder is left out: it loses nothing.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from core import codec
from core.codec import Rounding, chroma, color, islow, qtable, round_through
from core.codec.rounding import of_quantiser
from core.constants import white
from core.errors import InputError
from core.shapes import Pixels, QTable

Sampling = Literal["444", "420"]

# ITU-T T.81 (1992), table K.2 (chrominance): 99 but in the corner of low frequencies.
_IJG_CHROMINANCE_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))


def ijg_chrominance(quality: int) -> QTable:
    """The IJG chrominance table at a quality of 1..100."""
    table = torch.full((8, 8), 99.0, dtype=torch.float64)
    table[:4, :4] = torch.tensor(_IJG_CHROMINANCE_CORNER)
    return qtable.scaled(table, quality)


def compress(
    pixels: Pixels,
    luminance: QTable,
    chrominance: QTable,
    *,
    sampling: Sampling = "420",
    fancy: bool = True,
    rounding: Rounding = round_through,
) -> Pixels:
    """Pixels through JPEG: float32 in [0, 1], whole multiples of 1/255 out.

    Pixels are first rounded to 8 bits, as an encoder takes no others. Gray has no chrominance.
    `fancy` chooses the decoder's chroma filter (`core.codec.chroma.double`). `rounding` says
    what the derivative of every rounding is: with `codec.round_through` that of the whole is that
    of all linear steps and of the clamps. InputError: other channels or another sampling.
    """
    if sampling not in get_args(Sampling) or pixels.shape[1] not in (1, 3):
        raise InputError(
            f"expected 1 or 3 channels and a sampling of 444 or 420, got {pixels.shape[1]} "
            f"channels and {sampling!r}.\nHint: pixels are [n, c, h, w]; sampling is a text."
        )
    levels = rounding(pixels.to(torch.float64) * 255)
    if pixels.shape[1] == 1:
        return _coded(levels, luminance, rounding).to(torch.float32) / white(pixels.device)
    planes = color.encode(levels, rounding=rounding)
    luma, small = _coded(planes[:, :1], luminance, rounding), planes[:, 1:]
    if sampling == "420":
        small = _coded(chroma.halve(small, rounding=rounding), chrominance, rounding)
        small = chroma.double(small, *pixels.shape[-2:], fancy=fancy, rounding=rounding)
    else:
        small = _coded(small, chrominance, rounding)
    rgb = color.decode(torch.cat([luma, small], dim=1), rounding=rounding)
    return rgb.to(torch.float32) / white(pixels.device)


def _coded(planes: Tensor, table: QTable, rounding: Rounding) -> Tensor:
    """Whole levels through transform and quantiser, clamped to 0..255."""
    height, width = planes.shape[-2:]
    steps = table.to(planes)
    values = islow.dct8(codec.blocks(planes), rounding=rounding) / steps
    rounded = islow.half_away(values, of_quantiser(rounding)) * steps
    return codec.planes(islow.idct8(rounded, rounding=rounding), height, width).clamp(0, 255)
