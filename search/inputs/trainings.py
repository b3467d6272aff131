"""Training by a recipe as cells of the bank, to go on after a kill."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from core import models, training
from core.training.adversarial import FINE_TUNING, adversarial_training
from core.training.epochs import Training, check_learned
from core.training.recipes import Recipe
from results import schema
from search.engine.study import Made, Place, Study
from search.inputs.going_on import finished
from search.inputs.loading import Inputs
from search.inputs.networks import Source, columns_of, model_label


@dataclass(frozen=True, kw_only=True)
class TrainCell(Inputs):
    """A network trained by a recipe, which says where it starts."""

    recipe: str  # as core.training.recipes reads it, such as "fast:eps=2"
    epochs: int
    learning_rate: float
    batch_size: int


def cell(
    inputs: Inputs,
    source: Source,
    recipe: str,
    *,
    start: str | None,
    epochs: int | None,
    learning_rate: float | None,
) -> TrainCell:
    """Training from a piece of the bank, or from random weights; by what is usual where None."""
    usual = training.usual(source.model)
    rate = usual.learning_rate if start is None else FINE_TUNING
    fields = inputs.fields() | {"model": model_label(source.model)}
    return TrainCell(
        **fields,
        recipe=Recipe(recipe if start is None else f"{recipe},from={start}").text,
        epochs=epochs or training.default_epochs(source.data, source.model),
        learning_rate=learning_rate or rate,
        batch_size=usual.batch_size,
    )


@dataclass(frozen=True, kw_only=True)
class TrainRow:
    """One epoch; the piece holds the network after the last."""

    epoch: int
    loss: float
    n_correct: int  # of the images trained on, while the weights move
    n_images: int
    epoch_wall_s: float
    piece: str
    piece_bytes: int


class Trained(NamedTuple):
    """A network of the bank, and how long its training took."""

    weights: str
    wall_s: float


def trained_of(rows: schema.Table) -> Trained:
    """What the rows of a `TrainCell` say."""
    wall_s = float(schema.column(rows, "epoch_wall_s").sum())
    return Trained(str(schema.column(rows, "piece")[0]), wall_s)


def trained_study(source: Source) -> Study[TrainCell, Place]:
    """Training by a recipe on the training split of a source, which goes on after a kill."""
    how = partial(_train, source)
    return Study("training", 1, TrainCell, TrainRow, _here, how, n_rows=lambda cell: cell.epochs)


def _train(source: Source, cell: TrainCell, place: Place) -> Made:
    name = cell.recipe.partition(",")[0]
    run, kept = finished(lambda: _begin(source, cell, place), cell.epochs, place, name)
    check_learned(run.records, len(source.open().classes))
    assert isinstance(run.model, models.Normalised)
    columns = columns_of(run.records) | {"epoch_wall_s": [r.wall_s for r in run.records]}
    return Made(columns, *models.to_tensors(run.model), unfinished=kept)


def _begin(source: Source, cell: TrainCell, place: Place) -> Training:
    data, recipe = source.open("train"), Recipe(cell.recipe)
    if recipe.start is None:
        model = training.fresh(data, models.parse_spec(source.model).name, cell.seed)
    else:
        model = models.from_tensors(*place.bank.get(recipe.start))
    return adversarial_training(
        model,
        data,
        method=recipe.method,
        eps_255=recipe.eps_255,
        epochs=cell.epochs,
        learning_rate=cell.learning_rate,
        batch_size=cell.batch_size,
        seed=cell.seed,
        device=place.device,
    )


def _here(_: TrainCell, place: Place) -> Place:
    return place
