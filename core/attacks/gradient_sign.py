"""L-infinity attacks that step along the sign of the loss gradient: FGSM, I-FGSM, PGD.

All take pixels in [0, 1] and return pixels in [0, 1] within `eps_255` / 255 of them. The loss
is the cross-entropy of the true label, of `logits_of` what the attacker may differentiate.
"""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from core.shapes import Labels, Logits, Pixels

Differentiable = Callable[[Pixels], Logits]


def loss_gradient(logits_of: Differentiable, pixels: Pixels, labels: Labels) -> Pixels:
    """Gradient of each image's own cross-entropy; no image sees another's."""
    with torch.enable_grad():
        inputs = pixels.detach().requires_grad_()
        loss = functional.cross_entropy(logits_of(inputs), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, inputs)
    return gradient


def fgsm(logits_of: Differentiable, pixels: Pixels, labels: Labels, *, eps_255: float) -> Pixels:
    """Fast gradient sign method: one step of the whole budget.

    Source: Goodfellow, Shlens and Szegedy (2015), section 4.
    """
    return ifgsm(logits_of, pixels, labels, eps_255=eps_255, step_255=eps_255, n_steps=1)


def ifgsm(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    step_255: float,
    n_steps: int,
    start: Pixels | None = None,
) -> Pixels:
    """Iterative FGSM ("basic iterative method"): small steps, clipped to the ball each time.

    `start` is where the first step is taken from, the image itself unless given.

    Source: Kurakin, Goodfellow and Bengio (2017), section 2.2.
    """
    low = (pixels - eps_255 / 255).clamp(0, 1)
    high = (pixels + eps_255 / 255).clamp(0, 1)
    attacked = pixels if start is None else start
    for _ in range(n_steps):
        gradient = loss_gradient(logits_of, attacked, labels)
        attacked = (attacked + step_255 / 255 * gradient.sign()).clamp(low, high)
    return attacked


def pgd(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    step_255: float,
    n_steps: int,
    n_restarts: int,
    generators: Sequence[torch.Generator],
) -> Pixels:
    """Projected gradient descent: I-FGSM from uniform random starts in the ball.

    Of the restarts each image keeps the one with the largest loss. One CPU generator per
    image, so that an image's starts do not depend on the batch it is attacked in.

    Source: Madry et al. (2018), section 2.1.
    """
    worst = pixels
    worst_loss = torch.full((len(pixels),), -torch.inf, device=pixels.device)
    for _ in range(n_restarts):
        unit = [torch.rand(pixels.shape[1:], generator=generator) for generator in generators]
        noise = torch.stack(unit).to(pixels) * 2 - 1
        attacked = ifgsm(
            logits_of,
            pixels,
            labels,
            eps_255=eps_255,
            step_255=step_255,
            n_steps=n_steps,
            start=(pixels + eps_255 / 255 * noise).clamp(0, 1),
        )
        with torch.no_grad():
            loss = functional.cross_entropy(logits_of(attacked), labels, reduction="none")
        better = loss > worst_loss
        worst = torch.where(better[:, None, None, None], attacked, worst)
        worst_loss = torch.where(better, loss, worst_loss)
    return worst
