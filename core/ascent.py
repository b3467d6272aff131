"""Images made for a class: gradient ascent in its logit, held near an image or not."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from core.attacks.gradients import Differentiable
from core.shapes import Labels, Pixels


class Ascended(NamedTuple):
    """Images, and the logit of each one's class before every step."""

    pixels: Pixels
    logits: Float[Tensor, "steps n"]


def ascend(
    logits_of: Differentiable,
    start: Pixels,
    classes: Labels,
    *,
    step: float,
    n_steps: int,
    image: Pixels | None = None,
    beta: float = 0.0,
) -> Ascended:
    """Climb logit[class] - beta MSE(pixels, image) from `start`, pixels kept in [0, 1].

    A step follows the logit's gradient, then goes to the nearest point that the penalty allows
    (proximal gradient), so that no beta is too large: 0 leaves the logit alone, infinity returns
    the image.
    """
    pixels, logits = start, []
    weight = 2 * step * beta / start[0].numel()
    for _ in range(n_steps):
        moving = pixels.detach().requires_grad_()
        own = logits_of(moving).gather(1, classes[:, None])[:, 0]
        (gradient,) = torch.autograd.grad(own.sum(), moving)
        logits.append(own.detach())
        pixels = pixels + step * gradient
        if image is not None:
            near = 1 / (1 + weight)  # of what the penalty leaves of the step
            pixels = near * pixels + (1 - near) * image
        pixels = pixels.clamp(0, 1).detach()
    return Ascended(pixels, torch.stack(logits))
