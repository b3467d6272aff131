"""Images behind defences: the cells and rows that every comparison of defences shares."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch

from core import attacks, codec, seeds
from core.codec.scoring import classify
from core.defences import defence_by_name
from results import schema
from search import prepare
from search.inputs import loading
from search.tables.tally import blocks

BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Cell(loading.BlockCell):
    """A block of images behind some defences."""

    defences: tuple[str, ...]  # names, as core.defences.defence_by_name reads them


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image behind one defence."""

    image: int  # id within the split
    label: int
    undefended: int  # class predicted without a defence
    defence: str
    predicted: int


@torch.inference_mode()
def evaluate(cell: Cell, inputs: tuple[loading.Images, torch.nn.Module]) -> schema.Columns:
    """Predict every image behind every defence; one row each, images fastest.

    A randomised defence draws once, from the seed and the image's own id: not from its subject,
    so that a benign image and its attacked version meet the same draw.
    """
    images, network = inputs
    predicted = []
    for name in cell.defences:
        defence = defence_by_name(name).to(images.images.device)
        for first in range(0, len(images.ids), BATCH_SIZE):
            part = slice(first, first + BATCH_SIZE)
            draws = [seeds.generator(cell.seed, i) for i in images.ids[part].tolist()]
            pixels = codec.to_pixels(images.images[part])
            predicted.append(classify(network, defence(pixels, draws)))
    n_defences = len(cell.defences)
    return {
        "image": images.ids.repeat(n_defences).numpy(),
        "label": images.labels.repeat(n_defences).numpy(),
        "undefended": images.undefended.repeat(n_defences).numpy(),
        "defence": [name for name in cell.defences for _ in range(len(images.ids))],
        "predicted": torch.cat(predicted).numpy(),
    }


def cells(
    prepared: prepare.Prepared,
    attack: attacks.Attack,
    defences: Sequence[str],
    *,
    split: str,
    block: int,
) -> Iterator[Cell]:
    """One cell per block of images of the split, each with all defences."""
    pieces = [piece for piece in prepared.pieces if piece.split == split]
    for each in blocks(pieces, block):
        yield Cell(
            **asdict(prepared.inputs), weights=prepared.weights, attack=attack.name,
            eps_255=attack.eps_255, split=split, subject=each.piece.subject,
            piece=each.piece.name, first=each.first, count=each.count, defences=tuple(defences),
        )  # fmt: skip
