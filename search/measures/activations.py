"""What the convolutions of a network answer to one image, as cells."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from core import codec
from core.models import Normalised
from core.models.own import MnistCNN
from search.engine.study import Made, Place, Study
from search.inputs import loading
from search.inputs.pictures import Pictures


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """One image before a network that has `activations`."""

    weights: str
    images: str  # the piece
    place: int  # of the image in it


@dataclass(frozen=True, kw_only=True)
class Row:
    """One channel of a layer; the piece holds all answers, "layer1" and so on, [channel, h, w]."""

    image: int
    label: int
    layer: int  # from 1
    channel: int  # from 0
    n_positive: int  # of n_places
    n_places: int  # of the channel
    piece: str
    piece_bytes: int


def _load(cell: Cell, place: Place) -> tuple[loading.Images, nn.Module]:
    network = loading.classifier_of(place.bank, cell.weights, place.device, "fp32")
    return loading.images_of(place.bank, cell.images).part(cell.place, 1, place.device), network


@torch.inference_mode()
def _evaluate(_: Cell, loaded: tuple[loading.Images, nn.Module]) -> Made:
    block, network = loaded
    pixels = codec.to_pixels(block.images)
    assert isinstance(network, Normalised)
    assert isinstance(network.backbone, MnistCNN)
    answers = network.backbone.activations((pixels - network.mean) / network.std)
    layers = {f"layer{i}": answer[0].cpu().contiguous() for i, answer in enumerate(answers, 1)}
    rows = [
        (int(block.ids), int(block.labels), i, j, int((channel > 0).sum()), channel.numel())
        for i, layer in enumerate(layers.values(), 1)
        for j, channel in enumerate(layer)
    ]
    names = list(Row.__dataclass_fields__)[:6]
    return Made(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), layers)


STUDY = Study("activations", 1, Cell, Row, _load, _evaluate)


def cells(inputs: loading.Inputs, weights: str, benign: Pictures) -> Iterator[Cell]:
    """The first image of each class."""
    for _, piece, place in benign.firsts():
        yield Cell(**inputs.fields(), weights=weights, images=piece.name, place=place)
