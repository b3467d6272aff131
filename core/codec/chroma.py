"""Chroma at half the resolution (4:2:0, "h2v2"), as libjpeg halves and doubles it, bit by bit.

Planes are float64 [n, c, h, w] of whole levels in 0..255.
"""

import torch
from torch import Tensor
from torch.nn import functional

from core.codec import Rounding

# Sums to be rounded are multiples of 1/16: a nudge of 1/64 decides ties and nothing else.
_NUDGE = 1 / 64


def halve(planes: Tensor, *, rounding: Rounding = torch.round) -> Tensor:
    """Mean of each 2x2 square, padded to whole 8x8 blocks.

    Ties go down in even columns and up in odd ones: that keeps the mean level. The right edge is
    repeated before halving, the bottom edge up to a whole square before and to a whole block
    after it, so a last pair of rows is halved once and its mean repeated.

    Source: libjpeg-turbo, jcsample.c (h2v2_downsample) and jcprepct.c (pre_process_data).
    """
    height, width = planes.shape[-2:]
    whole = functional.pad(planes, (0, -width % 16, 0, -height % 2), mode="replicate")
    means = functional.avg_pool2d(whole, 2)
    nudge = _NUDGE * (1 - 2 * (torch.arange(means.shape[-1], device=planes.device) % 2))
    halved = rounding(means - nudge.to(means))
    return functional.pad(halved, (0, 0, 0, -halved.shape[-2] % 8), mode="replicate")


def double(
    planes: Tensor, height: int, width: int, *, fancy: bool = True, rounding: Rounding = torch.round
) -> Tensor:
    """Back to height x width samples.

    `fancy` is libjpeg's default, a triangle filter: each sample is 3/4 of the nearer and 1/4 of the
    farther neighbour in each direction; ties go up in even columns and down in odd ones. Without
    it, and where the halved plane has less than three columns, samples are repeated.

    Source: libjpeg-turbo, jdsample.c (h2v2_fancy_upsample, h2v2_upsample).
    """
    halved = planes[..., : (height + 1) // 2, : (width + 1) // 2]
    if not fancy or halved.shape[-1] < 3:
        whole = halved.repeat_interleave(2, -2).repeat_interleave(2, -1)
        return whole[..., :height, :width]
    whole = _triangle(_triangle(halved.mT).mT)
    nudge = _NUDGE * (1 - 2 * (torch.arange(whole.shape[-1], device=planes.device) % 2))
    return rounding(whole + nudge.to(whole))[..., :height, :width]


def _triangle(planes: Tensor) -> Tensor:
    """Twice the columns, by the triangle filter; the outermost keep their value."""
    edged = torch.cat([planes[..., :1], planes, planes[..., -1:]], dim=-1)
    near = 0.75 * planes
    left, right = near + 0.25 * edged[..., :-2], near + 0.25 * edged[..., 2:]
    return torch.stack([left, right], dim=-1).flatten(-2)
