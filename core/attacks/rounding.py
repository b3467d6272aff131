"""Making 8-bit images of attacked pixels."""

import math

import torch
from torch import Tensor

from core.attacks.norms import LINF, Norm
from core.shapes import Images8, Pixels


def round_within(
    attacked: Pixels, images: Images8, *, eps_255: float, norm: Norm = LINF
) -> Images8:
    """The attacked pixels as 8-bit images, still within `eps_255` of the originals.

    In L-infinity a budget that is no whole number is used up to the whole level below it. In L2
    each change is cut to the whole level below it, which can only shorten it; then changes go up
    to their nearest level while the budget has room, those nearest to it first.
    """
    if norm is not LINF:
        return _round_in_sphere(attacked, images, eps_255)
    change = (attacked * 255).round() - images
    whole = change.clamp(-math.floor(eps_255), math.floor(eps_255))
    return (images + whole).clamp(0, 255).to(torch.uint8)


def _round_in_sphere(attacked: Pixels, images: Images8, eps_255: float) -> Images8:
    change = (attacked.double() * 255 - images).flatten(1)
    length: Tensor = change.norm(dim=1, keepdim=True)
    change = change * (eps_255 / length.clamp_min(1e-12)).clamp(max=1)  # float32 errs by a hair
    levels = change.abs().floor()
    rise = (change.abs() - levels).sort(dim=1, descending=True, stable=True)
    candidate = change.abs().round().gather(1, rise.indices) > levels.gather(1, rise.indices)
    cost = (2 * levels.gather(1, rise.indices) + 1) * candidate  # of (level + 1)^2 over level^2
    room = eps_255**2 - levels.square().sum(1, keepdim=True)  # whole numbers, exact in float64
    raised = candidate & (cost.cumsum(1) <= room)
    levels.scatter_add_(1, rise.indices, raised.double())
    whole = (levels * change.sign()).reshape(images.shape)
    return (images + whole).clamp(0, 255).to(torch.uint8)
