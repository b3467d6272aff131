"""Which frequencies carry the image and which the distortion: deviations of DCT coefficients.

Source: "defensive quantization table" paper, section 3.2, figures 2 and 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from core import codec
from core.codec import color
from core.codec.dct import dct8
from core.errors import InputError
from core.shapes import Images

CHANNELS = ("R", "G", "B", "Y", "Cb", "Cr")

PerCoefficient = Float[Tensor, "channels 8 8"]
Map = Float[Tensor, "8 8"]
Mask = Bool[Tensor, "8 8"]

_BATCH_SAMPLES = 2**22  # samples of an image batch whose DCT is held at a time


@dataclass(frozen=True)
class Moments:
    """Sums over blocks of each of the 64 coefficients, per channel; they add up."""

    n_blocks: int
    total: PerCoefficient
    total_squares: PerCoefficient

    def __add__(self, other: "Moments") -> "Moments":
        squares = self.total_squares + other.total_squares
        return Moments(self.n_blocks + other.n_blocks, self.total + other.total, squares)

    def deviation(self) -> PerCoefficient:
        """Standard deviation over blocks, in levels: delta_b or delta_a of the paper."""
        mean = self.total / self.n_blocks
        return (self.total_squares / self.n_blocks - mean**2).clamp(min=0).sqrt()


def of_images(images: Images) -> Moments:
    """Moments of images, padded as the codec pads them; channels as `CHANNELS`, gray has one."""
    parts = torch.split(images, max(1, _BATCH_SAMPLES // images[0].numel()))
    moments = [_moments(_levels(part)) for part in parts]
    return sum(moments[1:], moments[0])


def of_distortion(attacked: Images, images: Images) -> Moments:
    """Moments of attacked minus benign images, in levels."""
    size = max(1, _BATCH_SAMPLES // images[0].numel())
    pairs = zip(torch.split(attacked, size), torch.split(images, size), strict=True)
    moments = [_moments(_levels(a) - _levels(b)) for a, b in pairs]
    return sum(moments[1:], moments[0])


def _levels(images: Images) -> Tensor:
    """Samples in 0..255, those of 8-bit images whole: float64."""
    return images.double() if images.dtype == torch.uint8 else images.double() * 255


def _moments(samples: Tensor) -> Moments:
    """Of [n, c, h, w] samples in levels, or differences of them."""
    planes = samples if samples.shape[1] == 1 else torch.cat([samples, color.ycbcr(samples)], dim=1)
    # `blocks` shifts levels by -128, which neither Cb, Cr nor differences want.
    values = dct8(codec.blocks(planes + 128))
    n_blocks = values.shape[0] * values.shape[2] * values.shape[3]
    return Moments(n_blocks, values.sum((0, 2, 3)), values.square().sum((0, 2, 3)))


def diagonals() -> Map:
    """The sum u + v of each coefficient: the paper's order of frequencies."""
    index = torch.arange(8, dtype=torch.float64)
    return index[:, None] + index


def smallest(ratio: Map, n_favoured: int) -> Mask:
    """The coefficients of the smallest ratio delta_a / delta_b: the OF band by measurement.

    Equal ratios are taken in natural order. InputError unless 1 to 64 are wanted.
    """
    if not 1 <= n_favoured <= 64:
        raise InputError(
            f"a band holds 1 to 64 coefficients, got {n_favoured}.\n"
            "Hint: the first k diagonals hold 1, 3, 6, 10, 15, 21, 28, 36, 43, 49, ..."
        )
    mask = torch.zeros(64, dtype=torch.bool)
    mask[ratio.flatten().argsort(stable=True)[:n_favoured]] = True
    return mask.reshape(8, 8)


def n_in_first_diagonals(mask: Mask, k: int) -> int:
    """How many coefficients of a band have u + v < k: what it shares with the paper's pattern k."""
    return int((mask & (diagonals() < k)).sum())
