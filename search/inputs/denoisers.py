"""Denoisers as cells of the bank, and finding them again by name."""

from dataclasses import dataclass
from functools import partial

from core import seeds
from core.models import denoiser
from core.training.denoising import denoiser_training
from results import Rows
from search.engine.study import Made, Place, Study
from search.inputs.codecs import fitting, only
from search.inputs.going_on import finished
from search.inputs.networks import Source

STUDY, SWEEP = "denoiser", "denoisers"  # and what all of a data set share is called by


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


def denoiser_study(source: Source) -> Study[TrainCell, Place]:
    """Training on the training split of a source, which goes on after a kill."""
    return Study(STUDY, 1, TrainCell, TrainRow, _here, partial(_train, source))


def _here(_: TrainCell, place: Place) -> Place:
    return place


def _train(source: Source, cell: TrainCell, place: Place) -> Made:
    begin = partial(
        denoiser_training,
        source.open("train"),
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


def stored(name: str, rows: Rows | None) -> str:
    """A denoiser as cells name it, `denoiser-both@PIECE`; `rows` as `codecs.stored` takes them.

    InputError unless exactly one of them fits "denoiser:sigma=0.1,skips=both" and the like.
    """
    given = denoiser.read(name)
    columns = {"n_blocks" if key == "blocks" else key: value for key, value in given.items()}
    fronts = [(_called(c), f"denoiser-{c.skips}@{c.piece}") for c in fitting(rows, columns)]
    there = [_called(c) for c in fitting(rows, {})]
    return only(
        name, fronts, there, "jobs/denoise.py trains denoisers, with the same --data and --side."
    )


def _called(cell: TrainCell) -> str:
    """All of its name."""
    size = f"width={cell.width},blocks={cell.n_blocks},epochs={cell.epochs}"
    return f"denoiser:sigma={cell.sigma:g},skips={cell.skips},{size},run={cell.run}"
