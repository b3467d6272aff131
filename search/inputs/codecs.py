"""Learned codecs as cells of the bank, and finding them again by name."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from core import learned, seeds
from core.errors import InputError
from core.learned import names
from core.training.learned import codec_training
from results import Rows
from search.engine.study import Made, Place, Study
from search.inputs.going_on import finished
from search.inputs.networks import Source

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
    """A codec as cells name it, `bls@PIECE`; `rows` are those that a store has of the same data.

    None: there are none. InputError unless exactly one codec fits.
    """
    wanted = names.read(name)
    given = {key: value for key, value in asdict(wanted).items() if value is not None}
    return only(
        name,
        [(_whole(c), f"{c.kind}@{c.piece}") for c in fitting(rows, given)],
        [_whole(c) for c in fitting(rows, {})],
        "jobs/rate_distortion.py trains codecs: "
        f"--kind {wanted.kind} --lambdas {wanted.distortion_weight:g}, same --data and --side.",
    )


def _whole(cell: Any) -> str:
    return f"{name_of(cell)},filters={cell.filters},epochs={cell.epochs}"


def fitting(rows: Rows | None, given: Mapping[str, object]) -> list[Any]:
    """The last epoch of each training among the rows whose columns have these values."""
    if rows is None:
        return []
    last = rows[rows["epoch"] == rows["epochs"]].drop_duplicates("piece")
    for column, value in given.items():
        last = last[last[column] == value]
    return list(last.itertuples())


def only(name: str, fronts: Sequence[tuple[str, str]], there: Sequence[str], hint: str) -> str:
    """The front of the one that a name means, of (full name, front) of those that it may mean.

    InputError unless it is one; `there` are the full names of all, `hint` says how to make one.
    """
    if not fronts:
        found = f", only {', '.join(there)}" if there else ""
        raise InputError(f"the store holds no {name} for these data{found}.\nHint: {hint}")
    if len(fronts) > 1:
        each = "\n".join(": ".join(pair) for pair in fronts)
        raise InputError(
            f"the store holds {len(fronts)} that {name} may mean:\n{each}\n"
            f"Hint: name one, as in {fronts[0][0]}, or by what stands behind it."
        )
    return fronts[0][1]
