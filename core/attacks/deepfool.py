"""DeepFool: the nearest decision boundary, by repeated linearisation, in L2."""

import torch
from torch import Tensor

from core.attacks.gradients import Differentiable, of_rows
from core.attacks.norms import L2, UNBOUNDED_255, lengths
from core.shapes import Labels, Pixels


def deepfool(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    n_steps: int = 50,
    overshoot: float = 0.02,
    n_candidates: int = 10,
    eps_255: float = UNBOUNDED_255,
) -> Pixels:
    """The smallest L2 change that DeepFool finds, cut to the budget where it is longer.

    Only the boundaries to the `n_candidates` - 1 likeliest other classes are looked at. An image
    leaves the work as soon as it is misclassified; one that is so from the start stays as it is.

    Source: Moosavi-Dezfooli, Fawzi and Frossard (2016), algorithm 2; overshoot in every step and
    1e-4 added to each distance are the authors' code's.
    """
    with torch.no_grad():
        logits = logits_of(pixels)
    order = logits.argsort(dim=1, descending=True)[:, :n_candidates]
    attacked, total = pixels.clone(), torch.zeros_like(pixels)
    rows = (order[:, 0] == labels).nonzero().flatten()
    for _ in range(n_steps):
        if not len(rows):
            break
        function = of_rows(logits_of, rows)
        total[rows] += _to_nearest(function, attacked[rows], order[rows])
        moved = (pixels[rows] + (1 + overshoot) * total[rows]).clamp(0, 1)
        attacked[rows] = moved
        with torch.no_grad():
            rows = rows[function(moved).argmax(1) == labels[rows]]
    return L2.project(attacked, pixels, eps_255 / 255)


def _to_nearest(logits_of: Differentiable, pixels: Pixels, order: Tensor) -> Tensor:
    """The step to the nearest of the linearised boundaries; `order` holds the own class first."""
    with torch.enable_grad():
        inputs = pixels.detach().requires_grad_()
        likeliest = logits_of(inputs).gather(1, order)
        gaps = likeliest[:, 1:] - likeliest[:, :1]
        slopes = [  # a loop over classes: one forward pass serves them all
            torch.autograd.grad(gap, inputs, retain_graph=k + 1 < gaps.shape[1])[0]
            for k, gap in enumerate(gaps.sum(0))
        ]
    distances = torch.stack(
        [
            gap.abs() / (slope.flatten(1).norm(dim=1) + 1e-8)
            for gap, slope in zip(gaps.detach().T, slopes, strict=True)
        ]
    )
    distance, nearest = distances.min(0)
    slope = torch.stack(slopes)[nearest, torch.arange(len(pixels), device=pixels.device)]
    return (distance + 1e-4)[:, None, None, None] * slope / (lengths(slope) + 1e-8)
