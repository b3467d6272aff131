"""RGB and YCbCr: BT.601 luma, full range, as JFIF and libjpeg have it."""

import torch
from torch import Tensor

from core.codec import Rounding
from core.codec.islow import NUDGE, half_up
from core.constants import on

# ITU-T T.871 (JFIF, 2011), clause 7: Y, Cb, Cr of R, G, B.
_YCBCR = torch.tensor(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ],
    dtype=torch.float64,
)

# libjpeg-turbo jccolor.c and jdcolor.c: the same as multiples of 2**-16, and its inverse.
_ENCODER = (
    torch.tensor(
        [[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]], dtype=torch.float64
    )
    / 2**16
)
_DECODER = torch.tensor([[0, 91881], [-22554, -46802], [116130, 0]], dtype=torch.float64) / 2**16

# Cb and Cr lie around 128; ties go up in Y and down in Cb and Cr (jccolor.c adds ONE_HALF - 1).
_SHIFT = torch.tensor([NUDGE, 128 - NUDGE, 128 - NUDGE], dtype=torch.float64)[:, None, None]


def ycbcr(rgb: Tensor) -> Tensor:
    """Y, Cb, Cr of [n, 3, h, w] RGB in any unit: float64, Cb and Cr around 0, nothing rounded.

    Linear, so that a difference of images may be converted like an image.
    """
    return _mix(_YCBCR, rgb.to(torch.float64))


def encode(rgb: Tensor, *, rounding: Rounding = torch.round) -> Tensor:
    """Whole levels of RGB, float64, to whole Y, Cb, Cr in 0..255: libjpeg's, to the last bit."""
    return rounding(_mix(_ENCODER, rgb) + on(_SHIFT, rgb.device))


def decode(planes: Tensor, *, rounding: Rounding = torch.round) -> Tensor:
    """Whole Y, Cb, Cr to whole RGB in 0..255, float64: libjpeg's, to the last bit."""
    change = half_up(_mix(_DECODER, planes[:, 1:] - 128), rounding)
    return (planes[:, :1] + change).clamp(0, 255)


def _mix(matrix: Tensor, planes: Tensor) -> Tensor:
    """Each output plane a sum of input planes; [n, c, h, w] in and out."""
    mixed = torch.matmul(on(matrix, planes.device), planes.flatten(2))
    return mixed.reshape(len(planes), len(matrix), *planes.shape[2:])
