"""The two norms that a budget may be measured in, as functions that an attack is given.

A radius is in pixels' own unit, [0, 1]: `eps_255` / 255. For L-infinity it bounds every pixel's
change, for L2 the root of the summed squares over a whole image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.shapes import Pixels

UNBOUNDED_255 = 1e6  # L2: farther than any two colour images of 2200 pixels a side are apart
_TINY = 1e-12  # keeps a zero gradient's direction zero


@dataclass(frozen=True)
class Norm:
    """What an attack must know of a norm."""

    name: str  # "linf" or "l2"
    steepest: Callable[[Tensor], Tensor]  # the unit change along which a gradient rises fastest
    project: Callable[[Pixels, Pixels, float], Pixels]  # attacked into the ball and into [0, 1]
    draw: Callable[[torch.Size, torch.Generator], Tensor]  # uniform in one image's unit ball
    length: Callable[[Pixels], Tensor]  # of each image's change, [n, 1, 1, 1]
    shorten: Callable[[Tensor, float], Tensor]  # changes into the ball


def lengths(change: Tensor) -> Tensor:
    """L2 length of each image's change, [n, 1, 1, 1]."""
    length: Tensor = change.flatten(1).norm(dim=1)
    return length[:, None, None, None]


def _largest(change: Tensor) -> Tensor:
    return change.abs().amax(dim=(1, 2, 3), keepdim=True)


def _into_box(attacked: Pixels, pixels: Pixels, radius: float) -> Pixels:
    return attacked.clamp((pixels - radius).clamp(0, 1), (pixels + radius).clamp(0, 1))


def _uniform_in_box(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator) * 2 - 1


def _unit_length(gradient: Tensor) -> Tensor:
    return gradient / lengths(gradient).clamp_min(_TINY)


def _into_sphere(attacked: Pixels, pixels: Pixels, radius: float) -> Pixels:
    # Clipping to [0, 1] after scaling brings every pixel nearer to the image, so the ball holds.
    change = attacked - pixels
    scaled = pixels + _shortened(change, radius)
    return torch.where(lengths(change) <= radius, attacked, scaled).clamp(0, 1)


def _cut(change: Tensor, radius: float) -> Tensor:
    return change.clamp(-radius, radius)


def _shortened(change: Tensor, radius: float) -> Tensor:
    return change * (radius / lengths(change).clamp_min(_TINY)).clamp(max=1)


def _uniform_in_sphere(shape: torch.Size, generator: torch.Generator) -> Tensor:
    # Voelker, Gosmann and Stewart (2017): n of the n + 2 coordinates of a point on a sphere.
    point = torch.randn(shape.numel() + 2, generator=generator)
    length: Tensor = point.norm()
    return (point / length)[: shape.numel()].reshape(shape)


LINF = Norm("linf", torch.sign, _into_box, _uniform_in_box, _largest, _cut)
L2 = Norm("l2", _unit_length, _into_sphere, _uniform_in_sphere, lengths, _shortened)
