"""A data set and networks so small that training takes milliseconds, importable by workers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.models import Blueprint, Normalised, architecture


@dataclass(frozen=True)
class TinyData:
    """Gray squares of 8 pixels in two classes: bright at the top, bright at the bottom."""

    spec: str = "digits"  # nothing is mirrored or shifted
    side: int = 8
    channels: int = 1
    classes: tuple[str, ...] = ("top", "bottom")
    fingerprint: str = "tiny"
    n_train: int = 48

    def size(self, split: str) -> int:
        return self.n_train if split == "train" else 16

    def batch(self, split: str, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(len(split))
        n = self.size(split)
        labels = torch.arange(n) % 2
        images = torch.randint(0, 120, (n, 1, 8, 8), generator=generator)
        images[labels == 0, :, :4] += 120
        images[labels == 1, :, 4:] += 120
        picks = torch.tensor(list(indices))
        return images[picks].to(torch.uint8), labels[picks]

    def name(self, split: str, index: int) -> str:
        return f"{split}/{index}"

    grouped_by: str = ""

    def group(self, split: str, index: int) -> str:
        return self.name(split, index)


class TinySource:
    """Stands where search.inputs.networks.Source does."""

    def open(self, _split: str | None = None) -> TinyData:
        return TinyData()


def lenet(seed: int = 0) -> Normalised:
    """Random weights for `TinyData`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = architecture("lenet", n_classes=2, channels=1, side=8)
    blueprint = Blueprint(architecture="lenet", n_classes=2, channels=1, side=8)
    return Normalised(backbone, mean=[0.4], std=[0.3], blueprint=blueprint).eval()


class Linear(nn.Module):
    """Logits W x + b of the flat image: its gradients have a closed form."""

    def __init__(self, n_pixels: int = 64, n_classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(n_classes, n_pixels, generator=generator) / 8)
        self.bias = nn.Parameter(torch.randn(n_classes, generator=generator))

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) @ self.weight.T + self.bias
