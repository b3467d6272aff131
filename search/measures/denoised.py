"""Denoisers as cells of the bank, and what they and others leave of the noise."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from core import codec, denoising, seeds
from core.models.denoiser import Denoiser
from core.models.weights import load_weights
from core.parts import in_parts
from core.training.denoising import denoiser_training
from search.engine.study import Made, Place, Study
from search.inputs.images import BATCH_SIZE
from search.inputs.networks import Source
from search.inputs.trainings import finished

N_KEPT = 8  # of a cell's images


@dataclass(frozen=True, kw_only=True)
class TrainCell:
    """A denoiser from random weights."""

    data: str
    side: int
    fingerprint: str
    seed: int
    run: int = 0  # training of its own: other first weights, order and noise
    sigma: float  # of the noise, pixels in [0, 1]
    skips: str = ""  # one of core.models.denoiser.SKIPS
    width: int = 0  # channels of the network
    n_blocks: int = 0  # of the network
    epochs: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainRow:
    """One epoch; the piece holds the network after the last."""

    epoch: int
    loss: float  # mean squared error, while the weights move
    epoch_wall_s: float
    piece: str
    piece_bytes: int


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


def train_study(source: Source) -> Study[TrainCell, Place]:
    """Training on the training split of a source, which goes on after a kill."""
    return Study("denoiser", 1, TrainCell, TrainRow, _here, partial(_train, source))


def study(source: Source) -> Study[Cell, Place]:
    """What is left of the noise on images of a source."""
    return Study("denoise", 1, Cell, Row, _here, partial(_evaluate, source))


def _here(_: TrainCell, place: Place) -> Place:
    return place


def _train(source: Source, cell: TrainCell, place: Place) -> Made:
    begin = partial(
        denoiser_training,
        source.open(),
        skips=cell.skips,
        sigma=cell.sigma,
        width=cell.width,
        n_blocks=cell.n_blocks,
        epochs=cell.epochs,
        seed=seeds.derived(cell.seed, "denoiser", cell.run),
        device=place.device,
    )
    run, kept = finished(begin, cell.epochs, place, f"skips {cell.skips}, run {cell.run}")
    columns = {
        "epoch": [record.epoch for record in run.records],
        "loss": [record.loss for record in run.records],
        "epoch_wall_s": [record.wall_s for record in run.records],
    }
    held = run.model.state_dict().items()
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in held}
    return Made(columns, tensors, unfinished=kept)


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
    network = Denoiser(
        channels=noisy.shape[1], width=cell.width, n_blocks=cell.n_blocks, skips=cell.skips
    )
    load_weights(network, place.bank.get(cell.weights)[0])
    network.eval().to(place.device)
    with torch.inference_mode():
        parts = in_parts(
            lambda part: network(noisy[part].to(place.device)).cpu(), len(noisy), BATCH_SIZE
        )
    return torch.cat(parts).clamp(0, 1)
