"""Attacks made to carry over to networks that the attacker cannot see: TI-FGSM, DI-FGSM.

Both are I-FGSM with one thing added, and take its budget, norm, momentum and target.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from core.attacks.gradient_sign import ifgsm
from core.attacks.gradients import Differentiable, preceded
from core.seeds import one_each
from core.shapes import Labels, Pixels


def tifgsm(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    kernel: Tensor | None = None,
    **settings: Any,  # of `ifgsm`
) -> Pixels:
    """Translation-invariant FGSM: every gradient is smoothed by `kernel`, [odd side, odd side].

    Unless given that is `gaussian_kernel` of `kernel_side`. Ten steps of a tenth of the budget
    unless said else (section 4.1). With one step the paper's TI-FGSM, with more its TI-BIM, with
    momentum its TI-MI-FGSM.

    Source: Dong, Pang, Su and Zhu (2019), section 3.2, equations 8 and 9.
    """
    if kernel is None:
        kernel = gaussian_kernel(kernel_side(min(pixels.shape[-2:])))
    smooth = partial(_smoothed, kernel=kernel)
    return ifgsm(logits_of, pixels, labels, smooth=smooth, **_in_ten(settings))


def _in_ten(settings: dict[str, Any]) -> dict[str, Any]:
    return {"step_255": settings["eps_255"] / 10, "n_steps": 10} | settings


def _smoothed(gradient: Pixels, *, kernel: Tensor) -> Pixels:
    channels = gradient.shape[1]
    each = kernel.to(gradient).expand(channels, 1, *kernel.shape)
    return functional.conv2d(gradient, each, padding="same", groups=channels)


def kernel_side(image_side: int) -> int:
    """The kernel's side that covers the same share of an image as 15 of 299 pixels, 3 at least.

    Below 64 pixels that hardly smooths: give a wider kernel where smoothing is the point.

    Source: Dong et al. (2019), section 4.3, for 15 at 299 pixels; the scaling is ours.
    """
    return 2 * max(1, round(7 * image_side / 299)) + 1


def gaussian_kernel(side: int) -> Tensor:
    """A Gaussian of three standard deviations either way, summing to 1.

    Source: the authors' code of Dong et al. (2019), gkern(15, 3). Libraries differ: torchattack's
    kernel of the same name is the root of this one's form, wider by a third.
    """
    place = torch.linspace(-3, 3, side, dtype=torch.float64)
    line = torch.exp(-(place**2) / 2)
    return (torch.outer(line, line) / line.sum() ** 2).float()


def difgsm(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    probability: float = 0.5,
    smallest: float = 0.9,
    generators: Sequence[torch.Generator] | None = None,
    **settings: Any,  # of `ifgsm`
) -> Pixels:
    """Diverse-input FGSM: every gradient is taken at a randomly shrunk and shifted image.

    Each image draws for itself at each step, from its own CPU generator or, without any, a new one.
    Ten steps of a tenth of the budget unless said else. The paper enlarges 299 pixels to a random
    place in 330; here the image shrinks by the same share instead, so that any network can read it.

    Source: Xie et al. (2019), sections 3.3 and 4.1 (`probability` 0.5), DI2-FGSM; with momentum
    its M-DI2-FGSM.
    """
    change = partial(shrunk_and_shifted, probability=probability, smallest=smallest)
    moving = preceded(logits_of, change, one_each(generators, len(pixels)))
    return ifgsm(moving, pixels, labels, **_in_ten(settings))


def shrunk_and_shifted(
    pixels: Pixels, generators: Sequence[torch.Generator], *, probability: float, smallest: float
) -> Pixels:
    """With `probability`, each image at a random size from `smallest` of its side, on black.

    Nearest-neighbour resizing and padding are one product with a 0-1 matrix on either side: exact,
    differentiable, without a loop, and the same bits on every run.
    """
    height, width = pixels.shape[-2:]
    unit = torch.stack([torch.rand(4, generator=generator) for generator in generators])
    chance, size, top, left = unit.double().to(pixels.device).T
    size = torch.where(chance < probability, size, torch.inf)
    rows = _placement(size, top, height, smallest).to(pixels)
    columns = _placement(size, left, width, smallest).to(pixels)
    return rows @ pixels @ columns.mT


def _placement(size: Tensor, shift: Tensor, side: int, smallest: float) -> Tensor:
    """0-1 matrices [n, 1, side, side] that shrink a line and shift it.

    `size` in [0, 1) picks a whole number of pixels from `smallest` of the side up, infinity the
    side itself; `shift` in [0, 1) picks one of the places that are left.
    """
    least = int(smallest * side)
    new = (least + size * (side - least)).clamp(max=side).long()[:, None]
    first = (shift[:, None] * (side - new)).long()
    there = torch.arange(side, device=size.device) - first  # position in the shrunk line
    # The step is a float32, as that of torch's own nearest-neighbour interpolation.
    source = (there * (side / new).float()).floor().long().clamp(0, side - 1)
    inside = (there >= 0) & (there < new)
    return (functional.one_hot(source, side) * inside[..., None])[:, None]
