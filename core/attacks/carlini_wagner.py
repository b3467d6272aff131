"""Carlini and Wagner's L2 attack, with the binary search over c."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.attacks.gradients import Differentiable, of_rows
from core.attacks.norms import L2, UNBOUNDED_255
from core.shapes import Labels, Pixels

_SHRINK = 0.999999  # keeps 0 and 1 inside the open range of tanh
_PROGRESS = 0.99  # what a tenth of the steps must lower an image's loss or hinge to
_PATIENCE = 20  # steps at least: Adam's momentum takes as long to turn
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's usual


@dataclass
class _Moving:
    """Images that still move: every field has one entry per image."""

    rows: Tensor  # which images of the batch they are
    pixels: Tensor
    origin: Tensor  # the pixels in tanh space
    labels: Tensor
    c: Tensor
    change: Tensor  # in tanh space
    mean: Tensor  # Adam's moments of the gradient
    variance: Tensor
    lowest: Tensor  # [n, 2]: loss and hinge when each last made progress
    n_stuck: Tensor  # steps since either did

    @classmethod
    def start(cls, pixels: Pixels, labels: Labels, c: Tensor) -> "_Moving":
        """All images, unmoved."""
        rows = torch.arange(len(pixels), device=pixels.device)
        origin = torch.atanh((2 * pixels - 1) * _SHRINK)
        change, mean, variance = (torch.zeros_like(pixels) for _ in range(3))
        never = torch.full((len(c), 2), torch.inf, dtype=c.dtype, device=c.device)
        n_stuck = torch.zeros_like(rows)
        return cls(rows, pixels, origin, labels, c, change, mean, variance, never, n_stuck)

    def drop_stuck(self, loss_and_hinge: Tensor, patience: int) -> None:
        """Drop images whose loss and hinge have both made no progress for so many steps."""
        progress = loss_and_hinge < _PROGRESS * self.lowest
        self.lowest = torch.where(progress, loss_and_hinge, self.lowest)
        self.n_stuck = torch.where(progress.any(1), 0, self.n_stuck + 1)
        going = self.n_stuck < patience
        if not going.all():
            for name, values in vars(self).items():
                setattr(self, name, values[going])

    def descend(self, gradient: Tensor, rate: float, n_steps: int) -> None:
        """Adam's step number `n_steps`, from 1 (Kingma and Ba 2015, algorithm 1)."""
        self.mean = self.mean.lerp(gradient, 1 - _BETA1)
        self.variance = self.variance.lerp(gradient.square(), 1 - _BETA2)
        spread = (self.variance / (1 - _BETA2**n_steps)).sqrt() + _EPSILON
        self.change = self.change - rate / (1 - _BETA1**n_steps) * self.mean / spread


def carlini_wagner(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    n_steps: int = 1000,
    n_searches: int = 9,
    rate: float = 0.01,
    confidence: float = 0.0,
    first_c: float = 1e-3,
    eps_255: float = UNBOUNDED_255,
    targeted: bool = False,
) -> Pixels:
    """The nearest example over `n_searches` values of c, cut to the budget where it is longer.

    Minimises |x' - x|^2 + c max(Z_label - max Z_other + confidence, 0) in tanh space by Adam.
    c grows tenfold until an example is found, then is bisected. An image stops when a tenth of the
    steps lowers neither its loss nor its hinge below the lowest so far. One for which nothing is
    found stays as it is.

    Source: Carlini and Wagner (2017), sections V and VI-A (f_6), and their published code.
    """
    c = torch.full((len(pixels),), first_c, dtype=pixels.dtype, device=pixels.device)
    low, high = torch.zeros_like(c), torch.full_like(c, torch.inf)
    best, best_square = pixels.clone(), torch.full_like(c, torch.inf)
    for _ in range(n_searches):
        found, square = _descend(
            logits_of, pixels, labels, c, n_steps=n_steps, rate=rate, confidence=confidence,
            targeted=targeted,
        )  # fmt: skip
        nearer = square < best_square
        best[nearer], best_square[nearer] = found[nearer], square[nearer]
        success = square.isfinite()
        high, low = torch.where(success, c, high), torch.where(success, low, c)
        c = torch.where(high.isinf(), c * 10, (low + high) / 2)
    return L2.project(best, pixels, eps_255 / 255)


def _descend(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    c: Tensor,
    *,
    n_steps: int,
    rate: float,
    confidence: float,
    targeted: bool,
) -> tuple[Pixels, Tensor]:
    """The nearest example on one descent for each c, and its squared distance (infinite: none)."""
    found, nearest = pixels.clone(), torch.full_like(c, torch.inf)
    moving = _Moving.start(pixels, labels, c)
    for step in range(n_steps):
        attacked = (torch.tanh(moving.origin + moving.change) + 1) / 2
        excess, slope = _excess(
            of_rows(logits_of, moving.rows), attacked, moving, confidence, targeted
        )
        away = attacked - moving.pixels
        square = away.flatten(1).square().sum(1)
        better = (excess < 0) & (square < nearest[moving.rows])
        found[moving.rows[better]], nearest[moving.rows[better]] = attacked[better], square[better]
        # d tanh: the derivative of x' = (tanh w + 1) / 2 is 2 x' (1 - x').
        moving.descend((slope + 2 * away) * (2 * attacked * (1 - attacked)), rate, step + 1)
        hinge = excess.clamp_min(0)
        losses = torch.stack([square + moving.c * hinge, hinge], dim=1)
        moving.drop_stuck(losses, max(_PATIENCE, math.ceil(n_steps / 10)))
        if not len(moving.rows):
            break
    return found, nearest


def _excess(
    logits_of: Differentiable, attacked: Pixels, moving: _Moving, confidence: float, targeted: bool
) -> tuple[Tensor, Pixels]:
    """How far each image is from an example, negative where it is one, and c times its slope."""
    with torch.enable_grad():
        inputs = attacked.detach().requires_grad_()
        logits = logits_of(inputs)
        own = logits.gather(1, moving.labels[:, None])[:, 0]
        other = logits.scatter(1, moving.labels[:, None], -torch.inf).amax(1)
        excess = (other - own if targeted else own - other) + confidence
        (slope,) = torch.autograd.grad((moving.c * excess.clamp_min(0)).sum(), inputs)
    return excess.detach(), slope
