"""Attacks that step along the loss gradient: FGSM, I-FGSM, PGD, in L-infinity or L2.

All take pixels in [0, 1] and return pixels in [0, 1] within `eps_255` / 255 of them, measured
in `norm`. The loss is the cross-entropy of `logits_of`, what the attacker may differentiate:
raised for the true label, or lowered for the label to be reached (`targeted`). What is not given
is as usual; `core.attacks.catalogue` has the same values by name.
"""

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from core.attacks.gradients import Differentiable, loss_gradient
from core.attacks.norms import LINF, Norm
from core.seeds import one_each
from core.shapes import Labels, Pixels


def fgsm(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    targeted: bool = False,
    norm: Norm = LINF,
) -> Pixels:
    """Fast gradient sign method: one step of the whole budget.

    Source: Goodfellow, Shlens and Szegedy (2015), section 4; targeted: Kurakin, Goodfellow and
    Bengio (2017), section 2.3, whose least likely class is one choice of target.
    """
    return ifgsm(
        logits_of,
        pixels,
        labels,
        eps_255=eps_255,
        step_255=eps_255,
        n_steps=1,
        targeted=targeted,
        norm=norm,
    )


def kurakin_steps(eps_255: float) -> int:
    """How many steps of 1/255: Kurakin, Goodfellow and Bengio (2017), section 2.2."""
    return max(1, round(min(eps_255 + 4, 1.25 * eps_255)))


def ifgsm(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    step_255: float | None = None,
    n_steps: int | None = None,
    start: Pixels | None = None,
    targeted: bool = False,
    norm: Norm = LINF,
    momentum: float = 0.0,
    smooth: Callable[[Pixels], Pixels] | None = None,
) -> Pixels:
    """Iterative FGSM ("basic iterative method"): small steps, brought back into the ball each time.

    Steps are of 1/255 unless said else, `kurakin_steps` of them; in L2 ten of a quarter of the
    budget. `start` is where the first step is taken from, the image itself unless given. `smooth`
    is applied to every gradient; `momentum` is the share of the earlier direction that is kept,
    each gradient being divided by its mean size first (MI-FGSM).

    Source: Kurakin, Goodfellow and Bengio (2017), section 2.2; momentum: Dong et al. (2018),
    algorithm 1.
    """
    if step_255 is None:
        step_255 = 1.0 if norm is LINF else eps_255 / 4
    if n_steps is None:
        n_steps = kurakin_steps(eps_255) if norm is LINF else 10
    uphill = -1 if targeted else 1
    attacked = pixels if start is None else start
    velocity = torch.zeros_like(pixels)
    for _ in range(n_steps):
        gradient = loss_gradient(logits_of, attacked, labels)
        if smooth is not None:
            gradient = smooth(gradient)
        if momentum:
            size = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
            gradient = velocity = momentum * velocity + gradient / size
        step = uphill * step_255 / 255 * norm.steepest(gradient)
        attacked = norm.project(attacked + step, pixels, eps_255 / 255)
    return attacked


def pgd(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    step_255: float | None = None,
    n_steps: int = 10,
    n_restarts: int = 1,
    generators: Sequence[torch.Generator] | None = None,
    targeted: bool = False,
    norm: Norm = LINF,
) -> Pixels:
    """Projected gradient descent: I-FGSM from uniform random starts in the ball.

    Steps are of a quarter of the budget unless said else. Of several restarts each image keeps the
    one with the largest loss (the smallest, where it is targeted). One CPU generator per image, so
    that an image's starts do not depend on the batch; without any, starts are new in every call.

    Source: Madry et al. (2018), section 2.1.
    """
    own, worst = one_each(generators, len(pixels)), pixels
    worst_loss = torch.full((len(pixels),), -torch.inf, device=pixels.device)
    for _ in range(n_restarts):
        unit = [norm.draw(pixels.shape[1:], generator) for generator in own]
        attacked = ifgsm(
            logits_of,
            pixels,
            labels,
            eps_255=eps_255,
            step_255=eps_255 / 4 if step_255 is None else step_255,
            n_steps=n_steps,
            start=(pixels + eps_255 / 255 * torch.stack(unit).to(pixels)).clamp(0, 1),
            targeted=targeted,
            norm=norm,
        )
        if n_restarts == 1:
            return attacked
        with torch.no_grad():
            loss = functional.cross_entropy(logits_of(attacked), labels, reduction="none")
        better = (-loss if targeted else loss) > worst_loss
        worst = torch.where(better[:, None, None, None], attacked, worst)
        worst_loss = torch.where(better, -loss if targeted else loss, worst_loss)
    return worst
