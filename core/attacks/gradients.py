"""What the attacker may differentiate, and the gradient of its loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.attacks.losses import Loss, cross_entropy
from core.shapes import Labels, Logits, Pixels

Differentiable = Callable[[Pixels], Logits]
Randomised = Callable[[Pixels, Sequence[torch.Generator]], Logits]  # one generator per image


@dataclass(frozen=True)
class Expectation:
    """A randomised function in place of a plain one: expectation over transformation (EOT).

    Every attack takes it. Called, it gives the mean logits of `n_samples` draws, so the gradient
    of a logit (DeepFool, C&W) is the mean over draws; `loss_gradient` gives the mean of the
    gradients of each draw's own loss. An image's draws come from its own CPU generator
    alone, so they do not depend on its neighbours. `fixed`: every call has the same draws, so that
    the attack climbs one smooth loss, that of these draws, instead of a noisy one.

    Source: Athalye, Engstrom, Ilyas and Kwok (2018), section 2; Athalye, Carlini and Wagner
    (2018), section 4.2.
    """

    randomised: Randomised
    generators: Sequence[torch.Generator]
    n_samples: int
    fixed: bool = False

    def draws(self) -> list[Differentiable]:
        """The logits of each draw of one call, to be asked in this order."""
        own = [each.clone_state() for each in self.generators] if self.fixed else self.generators
        return [lambda pixels: self.randomised(pixels, own)] * self.n_samples

    def __call__(self, pixels: Pixels) -> Logits:
        """The mean logits of all draws."""
        return torch.stack([draw(pixels) for draw in self.draws()]).mean(0)


def of_rows(logits_of: Differentiable, rows: Tensor) -> Differentiable:
    """The same function for some of the images, whose generators an `Expectation` must keep."""
    if not isinstance(logits_of, Expectation):
        return logits_of
    kept = [logits_of.generators[row] for row in rows.tolist()]
    return replace(logits_of, generators=kept)


def of_any_batch(logits_of: Differentiable, stream: torch.Generator) -> Differentiable:
    """The same function for whatever batch comes, an `Expectation` with new draws in each call."""
    if not isinstance(logits_of, Expectation):
        return logits_of

    def asked(pixels: Pixels) -> Logits:
        drawn = torch.randint(2**63 - 1, (len(pixels),), generator=stream).tolist()
        each = [torch.Generator().manual_seed(seed) for seed in drawn]
        return replace(logits_of, generators=each)(pixels)

    return asked


def preceded(
    logits_of: Differentiable,
    change: Callable[[Pixels, Sequence[torch.Generator]], Pixels],
    generators: Sequence[torch.Generator],
) -> Expectation:
    """The function behind a random change of the pixels; one draw, or the function's own many."""
    if isinstance(logits_of, Expectation):
        inner = logits_of.randomised
        return replace(logits_of, randomised=lambda pixels, own: inner(change(pixels, own), own))
    return Expectation(lambda pixels, own: logits_of(change(pixels, own)), generators, 1)


def gradient_and_logits(
    logits_of: Differentiable, pixels: Pixels, labels: Labels, *, loss: Loss = cross_entropy
) -> tuple[Pixels, Logits]:
    """Gradient of each image's own loss, and the logits; no image sees another's."""
    draws = logits_of.draws() if isinstance(logits_of, Expectation) else [logits_of]
    gradients, logits = zip(*(_one(draw, pixels, labels, loss) for draw in draws), strict=True)
    return sum(gradients[1:], gradients[0]) / len(draws), sum(logits[1:], logits[0]) / len(draws)


def _one(
    logits_of: Differentiable, pixels: Pixels, labels: Labels, loss: Loss
) -> tuple[Pixels, Logits]:
    with torch.enable_grad():
        inputs = pixels.detach().requires_grad_()
        logits = logits_of(inputs)
        (gradient,) = torch.autograd.grad(loss(logits, labels).sum(), inputs)
    return gradient, logits.detach()


def loss_gradient(
    logits_of: Differentiable, pixels: Pixels, labels: Labels, *, loss: Loss = cross_entropy
) -> Pixels:
    """Gradient of each image's own loss."""
    return gradient_and_logits(logits_of, pixels, labels, loss=loss)[0]
