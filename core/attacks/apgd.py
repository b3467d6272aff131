"""Auto-PGD: projected gradient ascent that finds its own step size."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from core.attacks.gradients import Differentiable, gradient_and_logits, of_rows
from core.attacks.kept import Kept
from core.attacks.losses import Loss, cross_entropy, dlr, targeted_dlr, wrong_classes
from core.attacks.norms import LINF, Norm
from core.seeds import one_each
from core.shapes import Labels, PerImage, Pixels

_MOMENTUM = 0.75  # the share of a step that is new
_RISING = 0.75  # of the steps between two checkpoints, or the step size is halved


def apgd(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    n_steps: int = 100,
    n_restarts: int = 1,
    generators: Sequence[torch.Generator] | None = None,
    loss: Loss = cross_entropy,
    norm: Norm = LINF,
) -> Pixels:
    """The largest loss that Auto-PGD meets, from uniform random starts in the ball.

    An image that stays misclassified as 8-bit image within the budget beats any larger loss. One
    CPU generator per image, so that an image's starts do not depend on the batch; without any,
    starts are new in every call.

    Source: Croce and Hein (2020), algorithm 1; where they read a loss after a restart from the best
    point, it is that point's.
    """
    own = one_each(generators, len(pixels))
    kept = Kept.start(logits_of, pixels, labels, eps_255=eps_255, norm=norm)
    rows = torch.arange(len(pixels), device=pixels.device)
    for _ in range(n_restarts):
        _climb(kept, rows, own, n_steps=n_steps, loss=loss, worth=loss)
    return kept.attacked


def apgd_targeted(
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
    """Auto-PGD on the targeted DLR loss towards the likeliest wrong classes, one after another.

    There are `n_targets` of them or all that there are. An image leaves the work after the target
    with which it stays misclassified as 8-bit image. Of the others the largest DLR loss is kept.

    Source: Croce and Hein (2020), sections 5 and 6 (APGD-T: 9 targets).

    Raises:
        InputError: fewer than four classes.
    """
    own = one_each(generators, len(pixels))
    kept = Kept.start(logits_of, pixels, labels, eps_255=eps_255, norm=norm)
    with torch.no_grad():
        targets = wrong_classes(logits_of(pixels), labels, n_targets)
    for target in targets.T.repeat_interleave(n_restarts, dim=0):
        rows = kept.right()
        if not len(rows):
            break
        goal = partial(targeted_dlr, targets=target[rows])
        _climb(kept, rows, own, n_steps=n_steps, loss=goal, worth=dlr)
    return kept.attacked


def checkpoints(n_steps: int) -> dict[int, int]:
    """After which steps the step size may be halved, and how many lie since the one before.

    Source: Croce and Hein (2020), section 4.1: shares 0, 0.22, then each further by 0.03 less than
    before, by 0.06 at least. Counted in hundredths: exact.
    """
    shares = [0, 22]
    while shares[-1] < 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    steps = sorted({-(-share * n_steps // 100) for share in shares if share <= 100})
    return {after: after - before for before, after in pairwise(steps)}


@dataclass
class _Ascent:
    """Where each image is; every field has one entry per image."""

    pixels: Pixels  # unattacked
    radius: float
    norm: Norm
    now: Pixels
    gradient: Pixels
    loss: PerImage
    before: Pixels = field(init=False)  # the point before this one
    best: tuple[Pixels, Pixels, PerImage] = field(init=False)  # point, gradient, loss
    step: Tensor = field(init=False)  # size, [n, 1, 1, 1]
    n_rises: Tensor = field(init=False)  # steps that raised the loss since the last checkpoint
    loss_then: PerImage = field(init=False)  # the best loss at the last checkpoint
    halved: Tensor = field(init=False)  # whether the step size was halved there

    def __post_init__(self) -> None:
        self.before = self.now
        self.best = (self.now, self.gradient, self.loss)
        self.step = self.loss.new_full((len(self.loss), 1, 1, 1), 2 * self.radius).to(self.now)
        self.n_rises = torch.zeros_like(self.loss)
        self.loss_then, self.halved = self.loss, torch.zeros_like(self.loss, dtype=torch.bool)

    def move(self, momentum: float) -> None:
        """One step; `momentum` is the share of it that is new."""
        ahead = self.now + self.step * self.norm.steepest(self.gradient)
        ahead = self.norm.project(ahead, self.pixels, self.radius)
        turn = momentum * (ahead - self.now) + (1 - momentum) * (self.now - self.before)
        self.before = self.now
        self.now = self.norm.project(self.now + turn, self.pixels, self.radius)

    def note(self, gradient: Pixels, loss: PerImage) -> None:
        """The gradient and the loss at the new point."""
        self.n_rises += loss > self.loss
        self.gradient, self.loss = gradient, loss
        self.best = _where(loss > self.best[2], (self.now, gradient, loss), self.best)

    def check(self, n_steps: int) -> None:
        """Halve the step size of images that rise too seldom or rest, and go back to their best."""
        rests = ~self.halved & (self.best[2] <= self.loss_then)
        self.halved = (self.n_rises < _RISING * n_steps) | rests
        self.step = torch.where(self.halved[:, None, None, None], self.step / 2, self.step)
        here = (self.now, self.gradient, self.loss)
        self.now, self.gradient, self.loss = _where(self.halved, self.best, here)
        self.loss_then, self.n_rises = self.best[2], torch.zeros_like(self.n_rises)


Point = tuple[Tensor, Tensor, Tensor]


def _where(which: Tensor, one: Point, other: Point) -> Point:
    wide = which[:, None, None, None]
    point, gradient = (torch.where(wide, a, b) for a, b in zip(one[:2], other[:2], strict=True))
    return point, gradient, torch.where(which, one[2], other[2])


def _climb(
    kept: Kept,
    rows: Tensor,
    generators: Sequence[torch.Generator],
    *,
    n_steps: int,
    loss: Loss,
    worth: Loss,
) -> None:
    """One ascent of some of the images from a random start, `worth` being what is kept."""
    function, radius = of_rows(kept.logits_of, rows), kept.eps_255 / 255
    pixels, labels = kept.pixels[rows], kept.labels[rows]

    def seen(now: Pixels) -> tuple[Pixels, PerImage]:
        gradient, logits = gradient_and_logits(function, now, labels, loss=loss)
        wrong = logits.argmax(1) != labels
        kept.offer(rows, now, wrong=wrong, value=worth(logits, labels))
        return gradient, loss(logits, labels)

    unit = [kept.norm.draw(pixels.shape[1:], generators[row]) for row in rows.tolist()]
    start = (pixels + radius * torch.stack(unit).to(pixels)).clamp(0, 1)
    ascent = _Ascent(pixels, radius, kept.norm, start, *seen(start))
    windows = checkpoints(n_steps)
    for step in range(1, n_steps + 1):
        ascent.move(_MOMENTUM if step > 1 else 1.0)
        ascent.note(*seen(ascent.now))
        if step in windows:
            ascent.check(windows[step])
