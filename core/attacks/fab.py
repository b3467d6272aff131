"""FAB: the smallest change, along decision boundaries and back towards the image."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from core.attacks.gradients import Differentiable, gradient_and_logits, of_rows
from core.attacks.hyperplane import onto_hyperplane
from core.attacks.kept import Kept
from core.attacks.losses import targeted_margin, wrong_classes
from core.attacks.norms import LINF, Norm
from core.seeds import one_each
from core.shapes import Labels, Pixels

_OVERSHOOT = 1.05  # eta: of every step over the boundary
_BIAS = 0.1  # alpha_max: the largest share of the image's own projection
_BACK = 0.9  # beta: what is kept of a change that was enough


def fab(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    n_steps: int = 100,
    n_restarts: int = 1,
    n_targets: int = 9,
    generators: Sequence[torch.Generator] | None = None,
    norm: Norm = LINF,
) -> Pixels:
    """The smallest change that FAB-T finds, cut to the budget where it is longer.

    It looks for the boundaries to the `n_targets` likeliest wrong classes, or to all there are. A
    change within the budget that misclassifies the 8-bit image too beats a shorter one that does
    not. An image that is misclassified from the start stays as it is. The first start is the image
    itself, later ones are random, with one CPU generator per image, or new ones.

    Source: Croce and Hein (2020b), algorithm 1 without its final search; targets and constants are
    those of the authors' AutoAttack.
    """
    own = one_each(generators, len(pixels))
    kept = Kept.start(logits_of, pixels, labels, eps_255=eps_255, norm=norm)
    with torch.no_grad():
        logits = logits_of(pixels)
    rows = (logits.argmax(1) == labels).nonzero().flatten()
    if not len(rows):
        return kept.attacked
    for target in wrong_classes(logits, labels, n_targets)[rows].T:
        for restart in range(n_restarts):
            start = _random_start(kept, rows, own) if restart else pixels[rows]
            _approach(kept, rows, start, target, n_steps=n_steps)
    return norm.project(kept.attacked, pixels, eps_255 / 255)


def _random_start(kept: Kept, rows: Tensor, generators: Sequence[torch.Generator]) -> Pixels:
    """In a ball of half the budget, or of half the shortest change found if that is less."""
    pixels = kept.pixels[rows]
    unit = [kept.norm.draw(pixels.shape[1:], generators[row]) for row in rows.tolist()]
    reach = (-kept.value[rows]).clamp(max=kept.eps_255 / 255).to(pixels)
    return (pixels + reach[:, None, None, None] / 2 * torch.stack(unit).to(pixels)).clamp(0, 1)


def _approach(kept: Kept, rows: Tensor, now: Pixels, target: Labels, *, n_steps: int) -> None:
    """One run of some of the images towards one class each; what it finds is kept."""
    function, norm = of_rows(kept.logits_of, rows), kept.norm
    origin, labels = kept.pixels[rows], kept.labels[rows]
    loss = partial(targeted_margin, targets=target)
    for _ in range(n_steps):
        slope, logits = gradient_and_logits(function, now, labels, loss=loss)
        gap = -loss(logits, labels).double()
        apart = (slope.double() * (now - origin)).sum((1, 2, 3))
        here = onto_hyperplane(now, slope, gap, norm=norm)
        there = onto_hyperplane(origin, slope, gap + apart, norm=norm)
        near, far = (norm.length(change).clamp_min(1e-8) for change in (here, there))
        share = (near / (near + far)).clamp(max=_BIAS)
        now = (now + _OVERSHOOT * here).lerp(origin + _OVERSHOOT * there, share).clamp(0, 1)
        with torch.no_grad():
            found = (function(now).argmax(1) != labels).nonzero().flatten()
        length = norm.length(now[found] - origin[found]).flatten()
        within = length <= kept.eps_255 / 255
        kept.offer(rows[found], now[found], wrong=within, value=-length)
        now[found] = origin[found] + _BACK * (now[found] - origin[found])
