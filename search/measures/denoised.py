"""What denoisers and others leave of the noise."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from core import codec, denoising, seeds
from core.models import denoiser
from core.parts import at_a_time, in_parts
from search.engine.study import Made, Place, Study
from search.inputs.denoisers import TrainCell
from search.inputs.networks import Source

N_KEPT = 8  # of a cell's images


@dataclass(frozen=True, kw_only=True)
class Cell(TrainCell):
    """Images with noise, before or after one way of taking it out.

    The seed and an image's id decide its noise. Without a network what describes one is left out.
    """

    way: str  # "not clipped", "noisy", one of core.denoising.BASELINES, or "skips" and which
    weights: str  # the network's piece in the bank
    split: str
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image; the piece holds the first `N_KEPT` images in whole levels."""

    image: int
    sse: float  # sum of squared errors, pixels in [0, 1]
    n_values: int  # of the image: pixels times channels
    piece: str
    piece_bytes: int


def study(source: Source) -> Study[Cell, Place]:
    """What is left of the noise on images of a source."""
    return Study("denoise", 1, Cell, Row, _here, partial(_evaluate, source))


def _here(_: Cell, place: Place) -> Place:
    return place


def _evaluate(source: Source, cell: Cell, place: Place) -> Made:
    ids = list(range(cell.first, cell.first + cell.count))
    images, _ = source.open().batch(cell.split, ids)
    draws = [seeds.generator(cell.seed, name, "noise") for name in ids]
    noisy = denoising.noisy(codec.to_pixels(images), draws, sigma=cell.sigma)
    out = noisy if cell.way == "not clipped" else _restored(noisy.clamp(0, 1), cell, place)
    errors = (out.double() - codec.to_pixels(images).double()).square().flatten(1)
    columns = {"image": ids, "sse": errors.sum(1).numpy(), "n_values": [errors.shape[1]] * len(ids)}
    return Made(columns, {"images": (255 * out[:N_KEPT].clamp(0, 1)).round().to(torch.uint8)})


def _restored(noisy: Tensor, cell: Cell, place: Place) -> Tensor:
    if cell.way in denoising.BASELINES:
        return denoising.baseline(noisy, cell.way, sigma=cell.sigma)
    if not cell.weights:
        return noisy
    network = denoiser.from_tensors(place.bank.get(cell.weights)[0], skips=cell.skips)
    network.to(place.device)
    with torch.inference_mode():
        parts = in_parts(
            lambda part: network(noisy[part].to(place.device)).cpu(),
            len(noisy),
            at_a_time(noisy, place.device),
        )
    return torch.cat(parts).clamp(0, 1)
