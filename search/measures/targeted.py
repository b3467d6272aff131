"""Every image towards every other class, by one step: what the network says before and after."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core import codec
from core.attacks import fgsm, round_within
from core.parts import at_a_time, in_parts
from search.engine.study import Made, Place, Study
from search.inputs import loading
from search.inputs.loading import Images
from search.inputs.pictures import Pictures, blocks


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """A block of images, each attacked towards every class but its own."""

    weights: str  # the attacked classifier's piece in the bank
    eps_255: float
    split: str
    images: str  # the piece
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image and one target; the perturbed image is the row's in the piece, in order."""

    image: int
    label: int
    target: int  # every class but the label's
    before: int  # class
    after: int
    p_before: float  # probability of the target
    p_after: float
    piece: str
    piece_bytes: int


def _load(cell: Cell, place: Place) -> tuple[Images, nn.Module]:
    network = loading.classifier_of(place.bank, cell.weights, place.device, "fp32")
    images = loading.images_of(place.bank, cell.images)
    return images.part(cell.first, cell.count, place.device), network


def _evaluate(cell: Cell, loaded: tuple[Images, nn.Module]) -> Made:
    block, network = loaded
    images, labels = block.images, block.labels.to(block.images.device)
    size = at_a_time(images, images.device)

    def outputs(seen: Tensor) -> Tensor:
        with torch.no_grad():
            parts = in_parts(
                lambda part: network(codec.to_pixels(seen[part])).softmax(1), len(seen), size
            )
        return torch.cat(parts)

    before = outputs(images)
    classes = torch.arange(before.shape[1], device=labels.device)
    rows, targets = (labels[:, None] != classes).nonzero().T

    def towards(part: slice) -> Tensor:
        own, goal = images[rows[part]], targets[part]
        moved = fgsm(network, codec.to_pixels(own), goal, eps_255=cell.eps_255, targeted=True)
        return round_within(moved, own, eps_255=cell.eps_255)

    attacked = torch.cat(in_parts(towards, len(rows), size))
    after = outputs(attacked)
    pick = targets[:, None]
    columns = {
        "image": block.ids.to(rows.device)[rows],
        "label": labels[rows],
        "target": targets,
        "before": before.argmax(1)[rows],
        "after": after.argmax(1),
        "p_before": before[rows].gather(1, pick)[:, 0].double(),
        "p_after": after.gather(1, pick)[:, 0].double(),
    }
    numbers = {name: column.cpu().numpy() for name, column in columns.items()}
    return Made(numbers, {"images": attacked.cpu()})


STUDY = Study("targeted_fgsm", 1, Cell, Row, _load, _evaluate)


def cells(
    inputs: loading.Inputs, weights: str, benign: Pictures, eps_255: float, *, block: int
) -> Iterator[Cell]:
    """All images, block by block."""
    for part in blocks(benign.pieces, block):
        yield Cell(
            **inputs.fields(),
            weights=weights,
            eps_255=eps_255,
            split=part.piece.split,
            images=part.piece.name,
            first=part.first,
            count=part.count,
        )
