"""Learned codecs as cells of the bank, and finding them again by name."""

from dataclasses import dataclass
from functools import partial

from core import learned, seeds
from core.errors import InputError
from core.learned import names
from core.training.learned import codec_training
from results import Rows
from search.engine.study import Made, Place, Study
from search.inputs.networks import Source
from search.inputs.trainings import finished

STUDY, SWEEP = "codec", "codecs"  # and what all of a data set share is called by


@dataclass(frozen=True, kw_only=True)
class CodecCell:
    """A learned codec, from random weights or from another's."""

    data: str
    side: int
    fingerprint: str
    seed: int
    kind: str  # one of core.learned.KINDS
    distortion_weight: float  # lambda: of the squared error of levels 0..255
    filters: int  # channels of its layers
    epochs: int
    learning_rate: float  # Adam's largest
    batch_size: int
    start: str  # piece of the codec that it began as; empty: random weights


@dataclass(frozen=True, kw_only=True)
class CodecRow:
    """One epoch; the piece holds the codec after the last."""

    epoch: int
    loss: float  # bits per pixel + lambda * squared error, with noise for rounding
    epoch_wall_s: float
    piece: str
    piece_bytes: int


def codec_study(source: Source) -> Study[CodecCell, Place]:
    """Training on the training split of a source, which goes on after a kill."""
    how = partial(_train, source)
    return Study(STUDY, 1, CodecCell, CodecRow, _here, how, n_rows=lambda cell: cell.epochs)


def name_of(cell: CodecCell) -> str:
    """As users call it, where no other of its lambda is stored: "bls:lambda=0.012"."""
    return f"{cell.kind}:lambda={cell.distortion_weight:g}"


def _here(_: CodecCell, place: Place) -> Place:
    return place


def _train(source: Source, cell: CodecCell, place: Place) -> Made:
    begin = partial(
        codec_training,
        source.open("train"),
        kind=cell.kind,
        distortion_weight=cell.distortion_weight,
        filters=cell.filters,
        epochs=cell.epochs,
        learning_rate=cell.learning_rate,
        batch_size=cell.batch_size,
        seed=seeds.derived(cell.seed, "codec"),
        start=place.bank.get(cell.start)[0] if cell.start else None,
        device=place.device,
    )
    run, kept = finished(begin, cell.epochs, place, name_of(cell))
    assert isinstance(run.model, learned.Codec)
    run.model.settle()
    columns = {
        "epoch": [record.epoch for record in run.records],
        "loss": [record.loss for record in run.records],
        "epoch_wall_s": [record.wall_s for record in run.records],
    }
    return Made(columns, *learned.to_tensors(run.model), unfinished=kept)


def stored(name: str, rows: Rows | None) -> str:
    """The piece of a codec by its name, `rows` being those that a store has of the same data.

    None: there are none. InputError unless exactly one codec fits.
    """
    wanted = names.read(name)
    if rows is not None:
        last = rows[rows["epoch"] == rows["epochs"]].drop_duplicates("piece")
        told = ("kind", "distortion_weight", "filters", "epochs")
        for column in told:
            value = getattr(wanted, column)
            last = last if value is None else last[last[column] == value]
        if len(last) == 1:
            return str(last["piece"].iloc[0])
        if len(last):
            found = [f"filters={c.filters},epochs={c.epochs}: {c.kind}@{c.piece}"
                     for c in last.itertuples()]  # fmt: skip
            raise InputError(
                f"{len(last)} stored codecs are called {name}:\n"
                + "\n".join(found)
                + f"\nHint: name one, as in {name.partition(',')[0]},{found[0].partition(':')[0]}, "
                "or by its piece."
            )
    raise InputError(
        f"the store holds no {name} for these data.\n"
        "Hint: jobs/rate_distortion.py trains codecs: "
        f"--kind {wanted.kind} --lambdas {wanted.distortion_weight:g}, same --data and --side."
    )
