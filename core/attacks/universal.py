"""A universal perturbation: one change of the pixels that fools a network on most images."""

import torch
from torch import Tensor

from core.attacks.deepfool import deepfool
from core.attacks.gradients import Differentiable
from core.attacks.norms import UNBOUNDED_255, Norm
from core.parts import in_parts
from core.shapes import Change, Labels, Pixels

N_STEPS, OVERSHOOT, N_CANDIDATES = 10, 0.02, 10  # of DeepFool, in the authors' code
_LARGEST = 256  # images looked at together


def added(pixels: Pixels, change: Change) -> Pixels:
    """The same change on every image, clipped to [0, 1]."""
    return (pixels + change).clamp(0, 1)


def predicted(logits_of: Differentiable, pixels: Pixels, change: Change | None = None) -> Labels:
    """Each image's class, after the change where one is given."""

    def classes(part: slice) -> Tensor:
        seen = pixels[part] if change is None else added(pixels[part], change)
        return logits_of(seen).argmax(1)

    with torch.no_grad():
        return torch.cat(in_parts(classes, len(pixels), _LARGEST))


def universal_pass(
    logits_of: Differentiable,
    pixels: Pixels,
    classes: Labels,
    change: Change,
    *,
    order: Tensor,
    xi_255: float,
    norm: Norm,
    n_together: int = 1,
) -> tuple[Change, int]:
    """One pass over the images in the order given: the change after it, and DeepFool's images.

    Every image whose class, `classes` when unchanged, the change leaves as it is gets the smallest
    further change that moves it, by DeepFool; the sum is brought back into the ball of `xi_255` /
    255. Images that are fooled already are passed over, found in batches. With `n_together` above 1
    DeepFool runs on so many at once and all their changes are added, which is not the source's
    algorithm but fools more images in less time.

    Source: Moosavi-Dezfooli, Fawzi, Fawzi and Frossard (2017), "Universal adversarial
    perturbations", algorithm 1; images are clipped to [0, 1], as images are.
    """
    n_moved = 0
    while True:
        rows, order = _not_fooled(
            logits_of, pixels, classes, change, order=order, wanted=n_together
        )
        if not len(rows):
            return change, n_moved
        start = added(pixels[rows], change)
        moved = deepfool(
            logits_of,
            start,
            classes[rows],
            n_steps=N_STEPS,
            overshoot=OVERSHOOT,
            n_candidates=N_CANDIDATES,
            eps_255=UNBOUNDED_255,
        )
        change = norm.shorten(change + (moved - start).sum(0, keepdim=True), xi_255 / 255)
        n_moved += len(rows)


def _not_fooled(
    logits_of: Differentiable,
    pixels: Pixels,
    classes: Labels,
    change: Change,
    *,
    order: Tensor,
    wanted: int,
) -> tuple[Tensor, Tensor]:
    """The first so many of the order that the change does not fool, and the order behind them."""
    found, size = order[:0], wanted
    while len(order) and len(found) < wanted:
        seen = order[:size]
        same = predicted(logits_of, pixels[seen], change) == classes[seen]
        here = same.nonzero().flatten()[: wanted - len(found)]
        found = torch.cat([found, seen[here]])
        done = len(found) == wanted
        order = order[int(here[-1]) + 1 :] if done else order[size:]
        size = min(2 * size, _LARGEST)
    return found, order


def random_change(
    shape: torch.Size, *, xi_255: float, norm: Norm, generator: torch.Generator
) -> Change:
    """A change of one image's shape, as large as allowed: random signs, or a random direction."""
    drawn = torch.randn(1, *shape, generator=generator)
    return norm.steepest(drawn) * xi_255 / 255
