"""The Square attack: random search over squares of pixels, which asks for logits alone."""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from core.attacks.gradients import Differentiable, of_rows
from core.attacks.kept import Kept
from core.attacks.losses import margin
from core.attacks.norms import LINF, Norm
from core.seeds import one_each
from core.shapes import Labels, PerImage, Pixels

# Up to which proposal the share of pixels is the first one's by 1, 2, 4, ...: Andriushchenko et
# al. (2020), section 4.1 and supplement B, for 10,000 queries.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_TINY = 1e-12
_N_PLACES = 5  # draws of a proposal before its signs: two windows' corners, and a turn


def square(
    logits_of: Differentiable,
    pixels: Pixels,
    labels: Labels,
    *,
    eps_255: float,
    n_queries: int = 5000,
    share: float = 0.8,
    n_restarts: int = 1,
    generators: Sequence[torch.Generator] | None = None,
    norm: Norm = LINF,
) -> Pixels:
    """Random squares at the edge of the ball, each kept where it raises the margin.

    `share` of the pixels change at first, ever fewer later. An image stops asking once it is
    misclassified as 8-bit image within the budget; what rounding makes of a misclassified one is
    asked beside the `n_queries`. All draws of an image come from its own CPU generator, a new one
    in every call unless given.

    Source: Andriushchenko et al. (2020), algorithms 1 to 3, as in AutoAttack: margin loss, 5,000
    queries, a first share of 0.8, and a schedule that is not stretched to the queries.
    """
    own = one_each(generators, len(pixels))
    kept = Kept.start(logits_of, pixels, labels, eps_255=eps_255, norm=norm)
    for _ in range(n_restarts):
        rows = kept.right()
        if len(rows):
            _search(kept, rows, own, n_queries=n_queries, share=share)
    return norm.project(kept.attacked, pixels, eps_255 / 255)


def square_side(n_done: int, share: float, height: int, width: int, *, least: int) -> int:
    """The side of the square after `n_done` proposals: odd if `least` is above 1, where it fits."""
    halvings = sum(n_done > last for last in _HALVINGS)
    side = max(round(math.sqrt(share / 2**halvings * height * width)), least)
    if least > 1 and side % 2 == 0:
        side += 1
    return min(side, height, width)


def _search(
    kept: Kept, rows: Tensor, generators: Sequence[torch.Generator], *, n_queries: int, share: float
) -> None:
    pixels, radius = kept.pixels[rows], kept.eps_255 / 255
    first, later, least = (_stripes, _recoloured, 1) if kept.norm is LINF else (_tiles, _moved, 3)
    own = [generators[row] for row in rows.tolist()]
    best = first(pixels, own, radius)
    n_draws = _N_PLACES + pixels.shape[1]
    draws = torch.stack([torch.rand(n_queries, n_draws, generator=g) for g in own]).to(pixels)
    value = _asked(kept, rows, best)
    for done in range(n_queries - 1):
        going = torch.isin(rows, kept.right()).nonzero().flatten()
        if not len(going):
            break
        side = square_side(done, share, *pixels.shape[2:], least=least)
        tried = later(best[going], pixels[going], draws[going, done], side, radius)
        loss = _asked(kept, rows[going], tried)
        better = loss > value[going]
        best[going[better]], value[going[better]] = tried[better], loss[better]


def _asked(kept: Kept, rows: Tensor, tried: Pixels) -> PerImage:
    """The margin of some images, and they are offered."""
    labels = kept.labels[rows]
    with torch.no_grad():
        logits = of_rows(kept.logits_of, rows)(tried)
    loss = margin(logits, labels)
    kept.offer(rows, tried, wrong=logits.argmax(1) != labels, value=loss)
    return loss


def _signs(unit: Tensor) -> Tensor:
    return torch.where(unit < 0.5, -1.0, 1.0)


def _stripes(pixels: Pixels, generators: Sequence[torch.Generator], radius: float) -> Pixels:
    """Vertical stripes one pixel wide, each channel of each with a sign of its own."""
    _, channels, _, width = pixels.shape
    unit = torch.stack([torch.rand(channels, 1, width, generator=g) for g in generators])
    return (pixels + radius * _signs(unit).to(pixels)).clamp(0, 1)


def _recoloured(best: Pixels, pixels: Pixels, draws: Tensor, side: int, radius: float) -> Pixels:
    """One square of one colour at the edge of the ball."""
    inside = _window(draws[:, :2], side, pixels)
    signs = _signs(draws[:, _N_PLACES:])[:, :, None, None]
    return torch.where(inside, (pixels + radius * signs).clamp(0, 1), best)


def _tiles(pixels: Pixels, generators: Sequence[torch.Generator], radius: float) -> Pixels:
    """About five by five tiles of the pattern, each channel of each with a sign of its own."""
    n, channels, height, width = pixels.shape
    side = max(min(height, width) // 5, 1)
    down, across = height // side, width // side
    unit = torch.stack(
        [torch.rand(channels + 1, down, across, generator=g) for g in generators]
    ).to(pixels)
    turn = (unit[:, 0] < 0.5).long()
    tiles = _patterns(side).to(pixels)[turn][:, None] * _signs(unit[:, 1:])[..., None, None]
    plane = tiles.transpose(3, 4).reshape(n, channels, down * side, across * side)
    top, left = (height - down * side) // 2, (width - across * side) // 2
    edges = (left, width - across * side - left, top, height - down * side - top)
    return _at_edge(pixels, functional.pad(plane, edges), radius)


def _moved(best: Pixels, pixels: Pixels, draws: Tensor, side: int, radius: float) -> Pixels:
    """The change of one square moves into another, in the shape of the pattern.

    Source: Andriushchenko et al. (2020), algorithm 3; channels share what the budget has left.
    """
    change = best - pixels
    window, emptied = (_window(draws[:, k : k + 2], side, pixels) for k in (0, 2))
    there = change * window
    spare = (radius**2 - change.square().sum((1, 2, 3), keepdim=True)).clamp_min(0)
    energy = (change * (window | emptied)).square().sum((2, 3), keepdim=True)
    signs = _signs(draws[:, _N_PLACES:])[:, :, None, None]
    fresh = signs * _placed(draws, side, pixels) + there / (_length(there) + _TINY)
    fresh = fresh / (_length(fresh) + _TINY) * (spare / change.shape[1] + energy).sqrt()
    moved = torch.where(window, fresh, torch.where(emptied, 0.0, change))
    return _at_edge(pixels, moved, radius)


def _at_edge(pixels: Pixels, change: Pixels, radius: float) -> Pixels:
    length = change.square().sum((1, 2, 3), keepdim=True).sqrt()
    return (pixels + change * (radius / (length + _TINY))).clamp(0, 1)


def _length(change: Pixels) -> Tensor:
    """Of each channel, [n, c, 1, 1]."""
    return change.square().sum((2, 3), keepdim=True).sqrt()


def _offsets(unit: Tensor, side: int, length: int) -> Tensor:
    """Places along a line counted from where a random window starts, [n, length]."""
    start = (unit * (length - side + 1)).floor().clamp(max=length - side).long()
    return torch.arange(length, device=unit.device) - start[:, None]


def _window(corner: Tensor, side: int, pixels: Pixels) -> Tensor:
    """Which pixels lie in a square at a random place, [n, 1, h, w]."""
    down, across = (
        (place >= 0) & (place < side)
        for place in (_offsets(corner[:, k], side, pixels.shape[2 + k]) for k in (0, 1))
    )
    return (down[:, :, None] & across[:, None, :])[:, None]


def _placed(draws: Tensor, side: int, pixels: Pixels) -> Tensor:
    """The pattern in the first window of each image, turned or not, 0 elsewhere: [n, 1, h, w]."""
    down, across = (
        _offsets(draws[:, k], side, pixels.shape[2 + k]).clamp(0, side - 1) for k in (0, 1)
    )
    turn = (draws[:, 4] < 0.5).long()[:, None, None]
    pattern = _patterns(side).to(pixels)[turn, down[:, :, None], across[:, None, :]]
    return pattern[:, None] * _window(draws[:, :2], side, pixels)


@cache
def _patterns(side: int) -> Tensor:
    """Two opposite bumps of unit length together, one above the other and side by side.

    Source: Andriushchenko et al. (2020), section 4.2, equation 2.
    """
    halves = [_bump(side // 2, side), -_bump(side - side // 2, side)]
    plane = torch.cat(halves)
    plane = plane / plane.norm()
    return torch.stack([plane, plane.T])


def _bump(height: int, width: int) -> Tensor:
    """Nested rectangles of 1 / k^2, of unit length."""
    down, across = ((torch.arange(n) - n // 2).abs() for n in (height, width))
    ring = torch.maximum(down[:, None], across[None, :])
    steps = 1 / torch.arange(1, max(height, width) // 2 + 2).square()
    bump: Tensor = steps.flip(0).cumsum(0).flip(0)[ring]
    length: Tensor = bump.norm()
    return bump / length
