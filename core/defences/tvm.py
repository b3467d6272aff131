"""Total variance minimisation: drop pixels at random, fill them with the smoothest picture."""

import torch
from torch import Tensor

from core.codec import Rounding, round_through
from core.defences.base import Defence, Generators
from core.errors import InputError
from core.seeds import one_each
from core.shapes import Pixels

N_STEPS = 100
_PRIMAL_STEPS = (8.0, 4.0, 1.0, 0.25)  # long ones fill wide gaps, short ones sharpen
_RELAXATION = 1.9
_NORM = 8  # bounds the squared norm of the gradient operator
_N_CACHED = 2**16  # values worked on at once: their ten arrays stay in a core's caches


def minimise(pixels: Pixels, kept: Tensor, *, weight: float, n_steps: int = N_STEPS) -> Pixels:
    """The z of least `weight * TV(z) + 1/2 |kept * (z - pixels)|^2`, each channel on its own.

    TV sums over pixels the Euclidean norm of the forward differences to the right and below (zero
    beyond the edge): scikit-image's. With every pixel kept this is its `denoise_tv_chambolle` run
    to convergence. `kept` is a mask of 0 and 1, [n, 1, h, w]. A dropped pixel's value is not looked
    at. The number of steps is fixed, so that no image's result depends on another's: a quarter of
    them for each length of step, hence an InputError where it is no multiple of 4.
    """
    n_each, odd = divmod(n_steps, len(_PRIMAL_STEPS))
    if n_each < 1 or odd:
        raise InputError(
            f"expected a multiple of {len(_PRIMAL_STEPS)} steps, got {n_steps}.\n"
            f"Hint: {N_STEPS} are near the limit."
        )
    n_images = max(1, len(pixels))
    if pixels.device.type == "cpu":
        n_images = max(1, _N_CACHED // pixels.shape[1:].numel())
    solved = []
    for part in zip(pixels.split(n_images), kept.split(n_images), strict=True):
        # Images last: a shift by a row or a column then moves long runs of memory.
        image, mask = (values.permute(2, 3, 0, 1).contiguous() for values in part)
        z = _descend(_filled(image, mask) / weight, mask.expand_as(image), n_each)
        solved.append((z * weight).permute(2, 3, 0, 1).contiguous())
    return torch.cat(solved)


def _filled(pixels: Tensor, kept: Tensor) -> Tensor:
    """Dropped pixels as means of the known ones among their 8 neighbours, spreading outwards."""
    values, known = pixels * kept, kept
    for _ in range(max(pixels.shape[:2])):
        if known.all():
            break
        total, share = _weighted_sums(values), _weighted_sums(known)
        values = torch.where(known > 0, values, total / share.clamp(min=1))
        known = share.clamp(max=1)
    return values


def _weighted_sums(values: Tensor) -> Tensor:
    """Of each 3x3 square, weighted 1, 2, 1 in both directions."""
    for axis in (0, 1):
        sums = 2 * values
        n = values.shape[axis] - 1
        sums.narrow(axis, 1, n).add_(values.narrow(axis, 0, n))
        sums.narrow(axis, 0, n).add_(values.narrow(axis, 1, n))
        values = sums
    return values


def _descend(pixels: Tensor, kept: Tensor, n_each: int) -> Tensor:
    """The z of least `TV(z) + 1/2 |kept * (z - pixels)|^2` from `pixels` on; [h, w, ...].

    Source: Chambolle and Pock (2011), algorithm 1 and section 6.2.1; over-relaxed as by Condat
    (2013), algorithm 3.1.
    """
    z = pixels.clone()
    dual, new = torch.zeros(2, 2, *z.shape, dtype=z.dtype, device=z.device)
    near, ahead, scale = torch.empty_like(z), torch.empty_like(z), torch.empty_like(z)
    (down, right), (new_down, new_right) = dual, new
    # Views, made once: at this size making one takes as long as adding through it.
    down_above, right_before = down[:-1], right[:, :-1]
    near_below, near_after = near[1:], near[:, 1:]
    ahead_above, ahead_below = ahead[:-1], ahead[1:]
    ahead_before, ahead_after = ahead[:, :-1], ahead[:, 1:]
    fall, rise = new_down[:-1], new_right[:, :-1]  # what lies beyond them stays 0
    for step in _PRIMAL_STEPS:
        shrink = 1 / (1 + step * kept)
        pulled = step * kept * pixels * shrink
        for _ in range(n_each):
            torch.add(z, down, alpha=step, out=near).add_(right, alpha=step)
            near_below.sub_(down_above, alpha=step)
            near_after.sub_(right_before, alpha=step)
            torch.addcmul(pulled, near, shrink, out=near)
            torch.lerp(z, near, 2.0, out=ahead)
            z.lerp_(near, _RELAXATION)
            torch.sub(ahead_below, ahead_above, out=fall)
            torch.sub(ahead_after, ahead_before, out=rise)
            torch.add(dual, new, alpha=1 / (_NORM * step), out=new)
            torch.mul(new_down, new_down, out=scale).addcmul_(new_right, new_right)
            new.mul_(scale.rsqrt_().clamp_(max=1))
            dual.lerp_(new, _RELAXATION)
    return near


class TotalVariation(Defence):
    """Guo et al.'s defence, solved by `minimise`; a mask is shared by an image's channels.

    The paper's objective is `|kept * (z - x)|^2 + tv_255 TV(z)`, that is half of it as `weight`.
    The derivative is the identity (BPDA): that of 100 unrolled steps is of no use.

    Source: Guo et al. (2018), "Countering Adversarial Images using Input Transformations", section
    4.2; pixel dropping 0.5 and weight 0.03 as there.
    """

    def __init__(self, *, dropped: float = 0.5, tv_weight: float = 0.03) -> None:
        """`dropped` is the share of pixels left out, 0 for none. InputError outside [0, 1)."""
        super().__init__()
        if not (0 <= dropped < 1 and tv_weight > 0):
            raise InputError(
                f"expected a share of dropped pixels in [0, 1) and a weight above 0, got "
                f"{dropped:g} and {tv_weight:g}.\nHint: Guo et al. use 0.5 and 0.03."
            )
        self.dropped, self.tv_weight = dropped, tv_weight
        self.randomised = dropped > 0

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """One draw; not rounded to 8 bits."""
        kept = torch.ones_like(pixels[:, :1])
        if self.randomised:
            shape = pixels.shape[-2:]
            draws = [torch.rand(shape, generator=g) for g in one_each(generators, len(pixels))]
            kept = (torch.stack(draws)[:, None] >= self.dropped).to(pixels)
        with torch.no_grad():
            out = minimise(pixels.detach(), kept, weight=self.tv_weight / 2).clamp(0, 1)
        return out + (pixels - pixels.detach())  # zero, whose derivative is the identity
