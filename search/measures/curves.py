"""Training a network again and again, as cells: loss and right answers after every epoch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from core import codec, training
from core.data import Data
from core.training.classifier import Usual
from core.training.epochs import Training
from core.training.schedules import cycle
from core.training.steps import PlainStep
from results import schema
from search.engine.study import Place, Study
from search.inputs import loading
from search.inputs.networks import Source

BATCH_SIZE = 500


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """One training of the network that `model` names."""

    run: int  # added to the seed: of first weights, order and augmentation
    epochs: int
    learning_rate: float
    batch_size: int
    shift: int
    clip: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One epoch and split: of "train" while the weights move, of the others after the epoch."""

    epoch: int
    split: str
    loss: float  # mean
    n_correct: int
    n_images: int
    epoch_wall_s: float  # of the training alone


def study(source: Source) -> Study[Cell, Place]:
    """Training on a source's training split; its other two are looked at after each epoch."""
    how = partial(_train, source)
    return Study("training_curves", 1, Cell, Row, _here, how, n_rows=lambda cell: 3 * cell.epochs)


def _here(_: Cell, place: Place) -> Place:
    return place


def _train(source: Source, cell: Cell, place: Place) -> schema.Columns:
    data, seed = source.open("train"), cell.seed + cell.run
    run = Training(
        training.fresh(data, cell.model, seed),
        data,
        step=PlainStep(clip=cell.clip),
        rate=cycle(cell.learning_rate, cell.epochs),
        batch_size=cell.batch_size,
        shift=cell.shift,
        seed=seed,
        device=place.device,
    )
    rows: list[tuple[float | str, ...]] = []
    for epoch in range(1, cell.epochs + 1):
        record = run.epoch()
        seen = {"train": (record.loss, record.n_correct, record.n_images)}
        for split in ("search", "report"):
            seen[split] = counted(run.model, data, split, place.device)
        rows += [(epoch, split, *found, record.wall_s) for split, found in seen.items()]
        _, n_right, n = seen["report"]
        place.say(f"{cell.model}, run {cell.run}, epoch {epoch}: {n_right} of {n} held out right")
    names = Row.__dataclass_fields__
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


@torch.inference_mode()
def counted(model: nn.Module, data: Data, split: str, device: str) -> tuple[float, int, int]:
    """Mean loss, right answers and images of a whole split."""
    model.eval()
    n, loss, n_correct = data.size(split), 0.0, 0
    for first in range(0, n, BATCH_SIZE):
        images, labels = data.batch(split, range(first, min(first + BATCH_SIZE, n)))
        logits, labels = model(codec.to_pixels(images).to(device)), labels.to(device)
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        n_correct += int((logits.argmax(1) == labels).sum())
    return loss / n, n_correct, n


def cells(
    inputs: loading.Inputs, models: Iterable[str], usual: Usual, *, n_runs: int, epochs: int
) -> Iterator[Cell]:
    """Every network with every seed, all by one schedule."""
    for run in range(n_runs):
        for model in models:
            yield Cell(
                **(inputs.fields() | {"model": model}),
                run=run,
                epochs=epochs,
                learning_rate=usual.learning_rate,
                batch_size=usual.batch_size,
                shift=usual.shift,
                clip=usual.clip,
            )
