"""A classifier that reads pixels: mean and deviation belong inside the model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.errors import InputError
from core.shapes import Logits, Pixels

PerChannel = Sequence[float]  # one number for each channel that a backbone reads


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """All that is needed to build a classifier again, weights apart."""

    architecture: str  # as `core.models.architecture` takes it
    n_classes: int
    channels: int  # of the data: 1 or 3
    side: int  # of the data, in pixels

    def __post_init__(self) -> None:
        if self.n_classes < 2 or self.channels not in (1, 3) or self.side < 8:
            raise InputError(
                "expected 2 classes or more, 1 or 3 channels and a side from 8, got "
                f"{self.n_classes} classes, {self.channels} channels, side {self.side}.\n"
                "Hint: these come from the data; look at what was opened."
            )


class Normalised(nn.Module):
    """Pixels in [0, 1] to logits: subtracts a mean, divides by a deviation, asks the backbone.

    Gray pixels are repeated where the backbone reads three channels. So budgets, codecs and attacks
    all speak of pixels in [0, 1], and none of them needs to know the statistics.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, *, mean: PerChannel, std: PerChannel, blueprint: Blueprint
    ) -> None:
        """InputError unless there are as many deviations as means, all above 0."""
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise InputError(
                f"expected a mean and a positive deviation per channel, got {mean} and {std}.\n"
                "Hint: images of one level only cannot be normalised."
            )
        self.backbone, self.blueprint = backbone, blueprint
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, pixels: Pixels) -> Logits:
        """Logits; differentiable in the pixels."""
        logits: Tensor = self.backbone((pixels - self.mean) / self.std)  # gray broadcasts to three
        return logits
