"""A noise-trained chain as one cell, which goes on from its last epoch when it was killed."""

from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

from core import models
from core.codec import qtable
from core.errors import InputError
from core.seeds import derived
from core.training import noisy
from core.training.epochs import EpochRecord, Training
from core.training.steps import State
from results import schema
from search.engine.bank import Bank
from search.engine.study import Place, Study
from search.inputs.loading import Inputs
from search.inputs.unfinished import TrainingState
from search.progress import duration
from search.stages import Source

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
    qualities: tuple[int, ...] = noisy.QUALITIES  # in order of training
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


def chain_study(source: Source) -> Study:
    """Training a chain on the training split of a source."""
    return Study("chain", VERSION, ChainCell, ChainRow, _load, partial(_chain, source))


def chain_id(cell: ChainCell) -> str:
    """The chain's name for ever."""
    return schema.cell_id("chain", VERSION, cell)


def _load(cell: ChainCell, bank: Bank, place: Place) -> tuple[TrainingState, Place]:
    return TrainingState(bank, chain_id(cell), place.say), place


def _chain(source: Source, cell: ChainCell, inputs: tuple[TrainingState, Place]) -> schema.Columns:
    kept, place = inputs
    run = _Chain(source, cell, kept, place)
    while len(run.done) < len(cell.qualities):
        run.next_member()
    kept.remove()
    return run.columns()


class _Chain:
    """One chain while it is trained."""

    state: State | None = None  # of the member that was under way

    def __init__(self, source: Source, cell: ChainCell, kept: TrainingState, place: Place) -> None:
        self.data, self.cell, self.kept, self.place = source.open(), cell, kept, place
        self.done: list[dict[str, Any]] = []  # finished members, as `state` notes them
        self.epochs_run, self.wall_s = 0, 0.0  # by this process
        found = kept.read()
        if found is None:
            return
        bank, (state, notes) = kept.bank, found
        lost = [m["name"] for m in notes["done"] if not bank.has(m["piece"], m["bytes"])]
        if lost:
            kept.set_aside(f"the bank has lost {', '.join(lost)}")
            return
        self.state, self.done = state, notes["done"]

    def next_member(self) -> None:
        """Train one more member, from its predecessor or from where it was left."""
        quality = self.cell.qualities[len(self.done)]
        before = self.done[-1]["piece"] if self.done else self.cell.weights
        model = models.from_tensors(*self.kept.bank.get(before))
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
            record = training.epoch()
            self.kept.write(training.state(), {"done": self.done})
            self._say(quality, record)
        piece, n_bytes = self.kept.bank.put(*models.to_tensors(model))
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
