"""Networks behind a defence, as one network."""

import torch
from torch import nn

from core import codec
from core.defences.base import Defence, Generators
from core.defences.ensemble import Ensemble
from core.shapes import Logits, Pixels


class Guarded(nn.Module):
    """A defence before an ensemble: pixels to the logarithm of the mean softmax.

    The ensemble's rule is not asked: an attacker differentiates the mean.
    """

    def __init__(self, defence: Defence, ensemble: Ensemble) -> None:
        """Both as they are, in their own mode."""
        super().__init__()
        self.defence, self.ensemble = defence, ensemble

    def forward(
        self,
        pixels: Pixels,
        generators: Generators | None = None,
        *,
        rounding: codec.Rounding = torch.round,
    ) -> Logits:
        """One draw of the defence; arguments as `Defence.forward` takes them."""
        seen = self.defence(pixels, generators, rounding=rounding)
        return self.ensemble.log_mean(seen, rounding=rounding)
