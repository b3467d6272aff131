"""Total variance minimisation: drop pixels at random, fill them with the smoothest picture."""

import torch
from torch import Tensor

from core.codec import Rounding
from core.defences.base import Defence, Generators, one_each, straight_through
from core.errors import InputError
from core.shapes import Pixels

N_STEPS = 300
_PRIMAL_STEP = 2.0  # at 300 steps, half of a photograph dropped: within 1/255 of the limit
_DUAL_STEP = 1 / (8 * _PRIMAL_STEP)  # 8 bounds the squared norm of the gradient operator


def minimise(pixels: Pixels, kept: Tensor, *, weight: float, n_steps: int = N_STEPS) -> Pixels:
    """The z of least `weight * TV(z) + 1/2 |kept * (z - pixels)|^2`, each channel on its own.

    TV sums over pixels the Euclidean norm of the forward differences to the right and below (zero
    beyond the edge): scikit-image's. With every pixel kept this is its `denoise_tv_chambolle` run
    to convergence. `kept` is a mask of 0 and 1, [n, 1, h, w]. A dropped pixel's value is not looked
    at. The number of steps is fixed, so that no image's result depends on another's.

    Source: Chambolle and Pock (2011), algorithm 1 with theta = 1, section 6.2.1.
    """
    n_kept = kept.sum((2, 3), keepdim=True).clamp(min=1)
    # In float64: how a sum is split among threads must not reach the float32 result.
    mean = (pixels * kept).sum((2, 3), keepdim=True, dtype=torch.float64) / n_kept
    z = torch.where(kept > 0, pixels, mean.to(pixels.dtype))
    ahead = z
    down, right = torch.zeros_like(z), torch.zeros_like(z)
    pull = _PRIMAL_STEP * kept
    for _ in range(n_steps):
        down[..., :-1, :] += _DUAL_STEP * ahead.diff(dim=-2)
        right[..., :-1] += _DUAL_STEP * ahead.diff(dim=-1)
        scale = ((down**2 + right**2).sqrt() / weight).clamp_(min=1)
        down, right = down / scale, right / scale
        last = z
        z = (z - _PRIMAL_STEP * adjoint(down, right) + pull * pixels) / (1 + pull)
        ahead = 2 * z - last
    return z


def adjoint(down: Tensor, right: Tensor) -> Tensor:
    """Adjoint of the forward differences: minus the divergence."""
    out = -down - right
    out[..., 1:, :] += down[..., :-1, :]
    out[..., 1:] += right[..., :-1]
    return out


class TotalVariation(Defence):
    """Guo et al.'s defence, solved by `minimise`; a mask is shared by an image's channels.

    The paper's objective is `|kept * (z - x)|^2 + tv_255 TV(z)`, that is half of it as `weight`.
    The derivative is the identity (BPDA): that of 300 unrolled steps is of no use.

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
        self,
        pixels: Pixels,
        generators: Generators | None = None,
        *,
        rounding: Rounding = torch.round,  # noqa: ARG002
    ) -> Pixels:
        """One draw; not rounded to 8 bits."""
        kept = torch.ones_like(pixels[:, :1])
        if self.randomised:
            shape = pixels.shape[-2:]
            draws = [torch.rand(shape, generator=g) for g in one_each(generators, pixels)]
            kept = (torch.stack(draws)[:, None] >= self.dropped).to(pixels)
        with torch.no_grad():
            out = minimise(pixels.detach(), kept, weight=self.tv_weight / 2).clamp(0, 1)
        return straight_through(out, pixels)
