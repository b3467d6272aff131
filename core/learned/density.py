"""How likely whole-numbered latents are: the densities of a codec, and their integer tables."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.learned.coder import LEVELS, SCALE
from core.learned.gdn import at_least

LEAST = 1e-9  # of a likelihood: no latent costs more than 30 bits of the estimate
SCALE_LEAST, SCALE_MOST, N_SCALES = 0.11, 64.0, 64  # of the Gaussian, in latent levels
WIDTHS = (1, 3, 3, 3, 3, 1)  # of the network that is a channel's cumulative distribution
INITIAL_SPREAD = 10.0  # of every channel, in latent levels


class Factorised(nn.Module):
    """A density for each channel, the same at every place, convolved with the unit box.

    A channel's cumulative distribution is the sigmoid of a small network that can only rise.

    Source: Balle, Minnen, Singh, Hwang and Johnston (2018), appendix 6.1.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        pairs = list(pairwise(WIDTHS))
        spread = INITIAL_SPREAD ** (1 / len(pairs))
        self.matrices, self.biases, self.factors = (nn.ParameterList() for _ in range(3))
        for i, (n_in, n_out) in enumerate(pairs):
            root = torch.tensor(1 / spread / n_out).expm1().log()
            self.matrices.append(root.expand(n_channels, n_out, n_in).clone())
            self.biases.append(torch.rand(n_channels, n_out, 1) - 0.5)
            if i < len(pairs) - 1:
                self.factors.append(torch.zeros(n_channels, n_out, 1))

    def cumulative(self, values: Tensor) -> Tensor:
        """Logits of the cumulative distribution at values [c, 1, n]."""
        for i, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            values = functional.softplus(matrix) @ values + bias
            if i < len(self.factors):
                values = values + self.factors[i].tanh() * values.tanh()
        return values

    def forward(self, latents: Tensor) -> Tensor:
        """The likelihood of each of latents [n, c, h, w], at least `LEAST`."""
        by_channel = latents.transpose(0, 1)
        values = by_channel.flatten(1)[:, None]
        both = self.cumulative(torch.cat([values - 0.5, values + 0.5], dim=-1))
        shares = _between(*both.chunk(2, dim=-1))
        return at_least(shares.view(by_channel.shape).transpose(0, 1), LEAST)

    @torch.no_grad()
    def tables(self) -> Tensor:
        """As `integer_tables`, a row for each channel; worked out in float64 on the CPU."""
        exact = copy.deepcopy(self).cpu().double()
        edges = _edges().expand(len(self.matrices[0]), 1, -1)
        logits = exact.cumulative(edges)[:, 0]
        return integer_tables(_between(logits[:, :-1], logits[:, 1:]))


def _between(low: Tensor, high: Tensor) -> Tensor:
    """sigmoid(high) - sigmoid(low), taken on the side where both are small."""
    sign = -(low + high).sign().detach()
    return (torch.sigmoid(sign * high) - torch.sigmoid(sign * low)).abs()


def gaussian(latents: Tensor, scales: Tensor) -> Tensor:
    """The likelihood of latents under N(0, scale^2) convolved with the unit box; at least `LEAST`.

    Scales below 0.11 are 0.11.

    Source: Balle, Minnen, Singh, Hwang and Johnston (2018), appendix 6.2.
    """
    scales = at_least(scales, SCALE_LEAST)
    distance = latents.abs()
    return at_least(_normal((0.5 - distance) / scales) - _normal((-0.5 - distance) / scales), LEAST)


def scale_steps() -> Tensor:
    """The scales that strings are coded with, evenly in their logarithm; float64."""
    low, high = math.log(SCALE_LEAST), math.log(SCALE_MOST)
    return torch.linspace(low, high, N_SCALES, dtype=torch.float64).exp()


def gaussian_tables() -> Tensor:
    """As `integer_tables`, a row for each of `scale_steps`."""
    distance, scales = torch.arange(-LEVELS, LEVELS + 1).double().abs(), scale_steps()[:, None]
    return integer_tables(_normal((0.5 - distance) / scales) - _normal((-0.5 - distance) / scales))


def _normal(values: Tensor) -> Tensor:
    out: Tensor = torch.special.erfc(-(2**-0.5) * values) / 2
    return out


def _edges() -> Tensor:
    return torch.arange(-LEVELS, LEVELS + 2).double() - 0.5


def integer_tables(shares: Tensor) -> Tensor:
    """Where each level's part of 0..`SCALE` begins: int32 [rows, levels + 2], the last the end.

    `shares` [rows, levels] are probabilities in float64; what they leave is that of a level beyond
    the table. Every part is at least 1; what rounding leaves falls to the largest.
    """
    rest = (1 - shares.sum(1, keepdim=True)).clamp(min=0)
    whole = torch.cat([shares, rest], dim=1)
    parts = 1 + (whole * (SCALE - whole.shape[1])).floor().long()
    parts.scatter_add_(1, parts.argmax(1, keepdim=True), SCALE - parts.sum(1, keepdim=True))
    return functional.pad(parts.cumsum(1), (1, 0)).to(torch.int32)


def tables_of(buffer: Tensor) -> Sequence[Sequence[int]]:
    """Tables as `core.learned.coder` reads them."""
    rows: list[list[int]] = buffer.tolist()
    return rows
