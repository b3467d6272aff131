"""AutoAttack's standard version in our own code: four attacks, each on what the others left."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from core.attacks.apgd import apgd, apgd_targeted
from core.attacks.fab import fab
from core.attacks.gradients import Differentiable, of_rows
from core.attacks.kept import Kept
from core.attacks.losses import dlr, margin
from core.attacks.norms import LINF, Norm
from core.attacks.square import square
from core.seeds import one_each
from core.shapes import Labels, Pixels

N_TARGETS, SHARE = 9, 0.8  # AutoAttack's: wrong classes of APGD-T and FAB-T; Square's first share


def standard(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    n_steps: int = 100,
    n_queries: int = 5000,
    n_restarts: int = 1,
    generators: Sequence[torch.Generator] | None = None,
    norm: Norm = LINF,
) -> Pixels:
    """APGD on the cross-entropy, APGD-T, FAB-T and Square, in turn on the images still right.

    An image leaves once it is misclassified as 8-bit image within the budget. One that never is
    keeps the attempt of the largest margin; one that is so from the start stays as it is. Unlike
    with the authors' code, an image's result does not depend on its batch, but on its own CPU
    generator, a new one in every call unless given. The targeted DLR loss
    needs four classes: with three the plain one takes its place, with two the margin.

    Source: Croce and Hein (2020), section 6.
    """
    each = one_each(generators, len(pixels))
    kept = Kept.start(logits_of, pixels, labels, eps_255=eps_255, norm=norm)
    n_classes = _offer(kept, torch.arange(len(pixels), device=pixels.device), pixels)
    common = {"eps_255": eps_255, "n_restarts": n_restarts, "norm": norm}
    for attack in _attacks(n_classes, n_steps, n_queries):
        rows = kept.right()
        if not len(rows):
            break
        own = [each[row] for row in rows.tolist()]
        function = of_rows(logits_of, rows)
        _offer(kept, rows, attack(function, pixels[rows], labels[rows], generators=own, **common))
    return kept.attacked


def _attacks(n_classes: int, n_steps: int, n_queries: int) -> list[Callable[..., Pixels]]:
    climb = partial(apgd, n_steps=n_steps)
    second = partial(apgd_targeted, n_steps=n_steps, n_targets=N_TARGETS)
    if n_classes < 4:
        second = partial(climb, loss=dlr if n_classes == 3 else margin)
    return [
        climb,
        second,
        partial(fab, n_steps=n_steps, n_targets=N_TARGETS),
        partial(square, n_queries=n_queries, share=SHARE),
    ]


def _offer(kept: Kept, rows: Tensor, tried: Pixels) -> int:
    """Ask what the function says of some images; the number of classes."""
    labels = kept.labels[rows]
    with torch.no_grad():
        logits = of_rows(kept.logits_of, rows)(tried)
    kept.offer(rows, tried, wrong=logits.argmax(1) != labels, value=margin(logits, labels))
    return logits.shape[1]
