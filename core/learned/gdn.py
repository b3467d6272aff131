"""Generalised divisive normalisation, and parameters that stay above a bound."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

BETA_LEAST = 1e-6
_OFFSET = 2.0**-36  # keeps the gradient of a root near 0 from vanishing


class _AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        passes = (values >= ctx.bound) | (gradient < 0)
        return gradient * passes, None


def at_least(values: Tensor, bound: float) -> Tensor:
    """The larger of each value and the bound; a step that would raise a value below it passes."""
    out: Tensor = _AtLeast.apply(values, bound)
    return out


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2); the inverse multiplies instead.

    What is learned are the roots of beta and gamma, kept above a bound: beta at least 1e-6, gamma
    at least 0.

    Source: Balle, Laparra and Simoncelli (2016), "Density modeling of images using a generalized
    normalization transformation"; the roots: their own code of 2017 (`gdn.py`).
    """

    def __init__(self, n_channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(_root(torch.ones(n_channels)))
        self.gamma = nn.Parameter(_root(0.1 * torch.eye(n_channels)))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] in and out."""
        beta = at_least(self.beta, (BETA_LEAST + _OFFSET) ** 0.5).square() - _OFFSET
        gamma = at_least(self.gamma, _OFFSET**0.5).square() - _OFFSET
        norm = functional.conv2d(x.square(), gamma[:, :, None, None], beta)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


def _root(values: Tensor) -> Tensor:
    return (values + _OFFSET).sqrt()
