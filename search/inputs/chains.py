"""Noise-trained chains M -> M90 -> .. -> M30 as cells, which go on after a kill; their outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from core import codec, models
from core.codec import qtable
from core.defences.ensemble import seen_by
from core.errors import InputError
from core.known import QUALITIES
from core.seeds import derived
from core.training import noisy
from core.training.epochs import EpochRecord, Training
from core.training.steps import State
from results import schema
from search.engine.study import Made, Place, Study
from search.engine.sweep import Sweeper
from search.inputs.loading import Images, Inputs, Origin, classifier_of, images_of
from search.inputs.making import make, sweep_name
from search.inputs.networks import Source
from search.inputs.pictures import Piece
from search.progress import duration

VERSION = 2


@dataclass(frozen=True, kw_only=True)
class ChainCell(Inputs):
    """A chain of fine-tuned networks. InputError for numbers that no chain can have."""

    weights: str  # the piece of M
    table: str  # quality 50; "ijg50" for the codec "jpeg"
    codec: str  # "ours" or "jpeg", as core.training.noisy.table_name reads it
    sigma_255: float
    xi: float
    epochs: int  # of each member
    learning_rate: float  # at each member's beginning
    decay: float  # of the learning rate, each epoch
    qualities: tuple[int, ...] = QUALITIES  # in order of training
    batch_size: int = 64

    def __post_init__(self) -> None:
        for quality in self.qualities:
            noisy.table_name(self.codec, self.table, quality)
        falling = sorted(set(self.qualities), reverse=True)
        if not falling or self.epochs < 1 or self.batch_size < 2 or list(self.qualities) != falling:
            raise InputError(
                "expected 1 epoch or more, batches of 2 or more and falling qualities, got "
                f"{self.epochs}, {self.batch_size} and {self.qualities}.\n"
                "Hint: the paper's qualities are 90, 80, .. 30."
            )


@dataclass(frozen=True, kw_only=True)
class ChainRow:
    """One epoch of one member; its piece holds the member as it was after its last epoch."""

    member: str
    quality: int
    epoch: int
    loss: float  # J', mean over the epoch
    n_correct: int  # of training images without codec and noise, while the weights move
    n_images: int
    epoch_wall_s: float
    piece: str
    piece_bytes: int


@dataclass(frozen=True)
class Member:
    """A network of an ensemble, and the quality at which it sees images."""

    name: str
    weights: str  # its piece in the bank
    table: str  # as core.codec.qtable.by_name reads it, "" for M, which sees images as they are
    quality: int | None = None  # of that table
    sigma_255: float | None = None  # of its training's noise

    @property
    def origin(self) -> Origin:
        """As rows say it."""
        return Origin(self.name, self.quality, self.sigma_255)


def origin(members: Sequence[Member]) -> Origin:
    """That of some members of one chain."""
    if len(members) == 1:
        return members[0].origin
    sigmas = {member.sigma_255 for member in members} - {None}
    return Origin("+".join(member.name for member in members), None, *sigmas)


@dataclass(frozen=True, kw_only=True)
class OutputsCell(Inputs):
    """What one member makes of one piece of images."""

    weights: str
    table: str
    split: str
    subject: str
    images: str  # the piece


@dataclass(frozen=True, kw_only=True)
class OutputsRow:
    """One image; its softmax output is the row of that position in the piece."""

    image: int
    label: int
    undefended: int  # class that M predicts without a codec
    predicted: int
    piece: str
    piece_bytes: int
    member: str | None = None
    quality: int | None = None  # of the images that it sees; none for M, as they are
    sigma_255: float | None = None  # of its training's noise; none for M


def chain_study(source: Source) -> Study[ChainCell, Place]:
    """Training a chain on the training split of a source."""
    how = partial(_chain, source)
    return Study("chain", VERSION, ChainCell, ChainRow, _here, how, n_rows=_n_epochs)


def _n_epochs(cell: ChainCell) -> int:
    return len(cell.qualities) * cell.epochs


def chain_id(cell: ChainCell) -> str:
    """The chain's name for ever."""
    return schema.cell_id("chain", VERSION, cell)


class Chain(NamedTuple):
    """A chain's members, M first, and how long the training of all others took."""

    members: tuple[Member, ...]
    wall_s: float


def make_chains(engine: Sweeper, source: Source, cells: Sequence[ChainCell]) -> list[Chain]:
    """Each cell's chain, trained or found in the bank.

    All that is fine-tuned from one M lies in one sweep, so no study trains what another has.
    CellsFailed where a chain fails.
    """
    (sweep,) = {sweep_name([c.data, str(c.side), "chains"], c.weights) for c in cells}
    made = make(engine, chain_study(source), cells, sweep, label="noise-trained chain")
    return [_chain_of(cell, rows) for cell, rows in zip(cells, made, strict=True)]


def _chain_of(cell: ChainCell, rows: schema.Table) -> Chain:
    names, pieces = (schema.column(rows, name) for name in ("member", "piece"))
    piece_of = dict(zip(names, pieces, strict=True))
    trained = [
        Member(
            f"M{q}",
            piece_of[f"M{q}"],
            noisy.table_name(cell.codec, cell.table, q),
            q,
            cell.sigma_255,
        )
        for q in cell.qualities
    ]
    wall_s = float(schema.column(rows, "epoch_wall_s").sum())
    return Chain((Member("M", cell.weights, ""), *trained), wall_s)


def make_outputs(
    engine: Sweeper,
    inputs: Inputs,
    members: Sequence[Member],
    pieces: Sequence[Piece],
    *,
    label: str = "members' outputs",
) -> dict[tuple[Member, str], str]:
    """The piece of every member's softmax outputs, by member and piece of images."""
    asked = [(member, piece) for member in members for piece in pieces]
    cells = [
        OutputsCell(
            **inputs.fields(),
            weights=member.weights,
            table=member.table,
            split=piece.split,
            subject=piece.subject,
            images=piece.name,
        )
        for member, piece in asked
    ]
    words = [inputs.data, str(inputs.side), "ensembles"]
    origins = {(member.weights, member.table): member.origin for member in members}
    study = replace(OUTPUTS, evaluate=partial(_outputs, origins=origins))
    made = make(engine, study, cells, sweep_name(words, members[0].weights), label=label)
    return {
        (member, piece.name): str(schema.column(rows, "piece")[0])
        for (member, piece), rows in zip(asked, made, strict=True)
    }


def _load_outputs(cell: OutputsCell, place: Place) -> tuple[Images, torch.nn.Module, str]:
    network = classifier_of(place.bank, cell.weights, place.device, cell.precision)
    return images_of(place.bank, cell.images), network, place.device


@torch.inference_mode()
def _outputs(
    cell: OutputsCell,
    loaded: tuple[Images, torch.nn.Module, str],
    origins: Mapping[tuple[str, str], Origin] = MappingProxyType({}),
) -> Made:
    images, network, device = loaded
    table = qtable.by_name(cell.table) if cell.table else None
    parts = [
        network(seen_by(codec.to_pixels(part.to(device)), table)).softmax(1).cpu()
        for part in torch.split(images.images, 64)
    ]
    outputs = torch.cat(parts).float()
    columns = {
        "image": images.ids.numpy(),
        "label": images.labels.numpy(),
        "undefended": images.undefended.numpy(),
        "predicted": outputs.argmax(1).numpy(),
        **origins.get((cell.weights, cell.table), Origin()).columns(len(outputs)),
    }
    return Made(columns, {"outputs": outputs, "ids": images.ids})


OUTPUTS = Study("member_outputs", 2, OutputsCell, OutputsRow, _load_outputs, _outputs)


def _here(_: ChainCell, place: Place) -> Place:
    return place


def _chain(source: Source, cell: ChainCell, place: Place) -> schema.Columns:
    run = _Chain(source, cell, place)
    while len(run.done) < len(cell.qualities):
        run.next_member()
    run.kept.remove()
    return run.columns()


class _Chain:
    """One chain while it is trained."""

    state: State | None = None  # of the member that was under way

    def __init__(self, source: Source, cell: ChainCell, place: Place) -> None:
        self.cell, self.kept, self.place = cell, place.kept, place
        self.data = source.open("train")
        self.done: list[dict[str, Any]] = []  # finished members, as `state` notes them
        self.epochs_run, self.wall_s = 0, 0.0  # by this process
        found = self.kept.read()
        if found is None:
            return
        bank, (state, notes) = place.bank, found
        lost = [m["name"] for m in notes["done"] if not bank.has(m["piece"], m["bytes"])]
        if lost:
            self.kept.set_aside(f"the bank has lost {', '.join(lost)}")
            return
        self.state, self.done = state, notes["done"]

    def next_member(self) -> None:
        """Train one more member, from its predecessor or from where it was left."""
        quality = self.cell.qualities[len(self.done)]
        before = self.done[-1]["piece"] if self.done else self.cell.weights
        model = models.from_tensors(*self.place.bank.get(before))
        training = self._training(model, quality)
        if self.state is not None:
            try:
                training.restore(self.state)
            except InputError as cause:
                self.kept.set_aside(str(cause).splitlines()[0])
                self.state, self.done = None, []
                return
            self.state = None
            said = f"goes on after epoch {len(training.records)} of {self.cell.epochs}"
            self.place.say(f"M{quality}: {said}")
        while len(training.records) < self.cell.epochs:
            record = training.epoch(lambda: self.kept.write(training.state(), {"done": self.done}))
            self.kept.write(training.state(), {"done": self.done})
            self._say(quality, record)
        piece, n_bytes = self.place.bank.put(*models.to_tensors(model))
        records = [astuple(record) for record in training.records]
        member = {"name": f"M{quality}", "piece": piece, "bytes": n_bytes, "records": records}
        self.done.append(member)

    def _training(self, model: models.Normalised, quality: int) -> Training:
        cell = self.cell
        table = qtable.by_name(noisy.table_name(cell.codec, cell.table, quality))
        assert table is not None
        return noisy.noisy_training(
            model,
            self.data,
            table=table,
            sigma_255=cell.sigma_255,
            xi=cell.xi,
            learning_rate=cell.learning_rate,
            decay=cell.decay,
            batch_size=cell.batch_size,
            seed=derived(cell.seed, "chain", quality),
            device=self.place.device,
        )

    def _say(self, quality: int, record: EpochRecord) -> None:
        cell = self.cell
        self.epochs_run += 1
        self.wall_s += record.wall_s
        ended = len(self.done) * cell.epochs + record.epoch
        left_s = (len(cell.qualities) * cell.epochs - ended) * self.wall_s / self.epochs_run
        share = 100 * record.n_correct / record.n_images
        self.place.say(
            f"M{quality} (sigma {cell.sigma_255:g}/255): epoch {record.epoch}/{cell.epochs}: loss "
            f"{record.loss:.3f}, {share:.1f} % right, {duration(left_s)} left"
        )

    def columns(self) -> schema.Columns:
        """A row per member and epoch."""
        rows = [
            {
                "member": member["name"], "quality": quality, "epoch": int(epoch), "loss": loss,
                "n_correct": int(n_correct), "n_images": int(n_images), "epoch_wall_s": wall_s,
                "piece": member["piece"], "piece_bytes": member["bytes"],
            }
            for member, quality in zip(self.done, self.cell.qualities, strict=True)
            for epoch, loss, n_correct, n_images, wall_s in member["records"]
        ]  # fmt: skip
        return {name: [row[name] for row in rows] for name in rows[0]}
