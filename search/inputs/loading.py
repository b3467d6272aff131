"""What cells name and load: images and networks of the bank, kept by the process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from core import models
from core.codec import qtable
from core.defences.ensemble import Ensemble, Member
from search.engine.bank import Bank
from search.engine.study import Place


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """How rows name what they were measured on, the same in every cell of a search."""

    data: str
    side: int
    fingerprint: str  # of the data set's content and splits
    model: str
    seed: int
    precision: str  # "fp32" or "bf16"


@dataclass(frozen=True, kw_only=True)
class BlockCell(Inputs):
    """A block of images, benign or attacked, that a network is to classify."""

    weights: str  # the classifier's piece in the bank
    attack: str
    eps_255: float
    split: str  # "search" or "report"
    subject: str  # "benign" or "adversarial"
    piece: str  # the images' piece in the bank
    first: int  # position in the piece, whose images stand in order of margin
    count: int


@dataclass(frozen=True)
class Images:
    """A piece's content. Rows stand in ascending order of margin."""

    images: Tensor  # uint8, or float32 in [0, 1] for unrounded adversarial examples
    labels: Tensor
    ids: Tensor
    undefended: Tensor

    def part(self, first: int, count: int, device: str) -> "Images":
        """Some neighbours, their pictures on a device."""
        rows = slice(first, first + count)
        images = self.images[rows].to(device)
        return Images(images, self.labels[rows], self.ids[rows], self.undefended[rows])


def load_block(cell: BlockCell, bank: Bank, place: Place) -> tuple[Images, nn.Module]:
    """The cell's images, on the device, and the network."""
    images = images_of(bank, cell.piece).part(cell.first, cell.count, place.device)
    return images, classifier_of(bank, cell.weights, place.device, cell.precision)


@lru_cache(maxsize=4)
def images_of(bank: Bank, piece: str) -> Images:
    """A piece of images."""
    tensors, _ = bank.get(piece)
    return Images(**tensors)


@lru_cache(maxsize=8)
def classifier_of(bank: Bank, piece: str, device: str, precision: str) -> nn.Module:
    """The network, ready to predict and to be attacked on `device`."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    network = models.folded(models.from_tensors(*bank.get(piece)))
    network = network.eval().requires_grad_(requires_grad=False)
    network = network.to(device).to(memory_format=torch.channels_last)
    return Bf16(network, device) if precision == "bf16" else network


@lru_cache(maxsize=4)
def ensemble_of(
    bank: Bank, networks: tuple[str, ...], tables: tuple[str, ...], device: str, precision: str
) -> Ensemble:
    """Networks behind their tables ("" for none), each ready as `classifier_of` makes it."""
    ready = [
        Member(
            piece, classifier_of(bank, piece, device, precision), qtable.by_name(table or "none")
        )
        for piece, table in zip(networks, tables, strict=True)
    ]
    return Ensemble(ready).eval().to(device)


def members(
    bank: Bank, names: Sequence[str], networks: Sequence[str], tables: Sequence[str]
) -> list[Member]:
    """Networks of the bank as they were trained, behind their tables ("" for none)."""
    return [
        Member(name, models.from_tensors(*bank.get(piece)), qtable.by_name(table or "none"))
        for name, piece, table in zip(names, networks, tables, strict=True)
    ]


class Bf16(nn.Module):
    """A network under bfloat16 autocast, float32 pixels in and float32 logits out."""

    def __init__(self, model: nn.Module, device: str) -> None:
        """`device` is where the network is."""
        super().__init__()
        self.model, self.device = model, device

    def forward(self, pixels: Tensor) -> Tensor:
        """As the network's own."""
        with torch.autocast(self.device, dtype=torch.bfloat16):
            logits: Tensor = self.model(pixels)
        return logits.float()
