"""What a search stands on: the classifier, the benign images, the adversarial examples.

Each is made by cells like any other, once, and lies in the bank by content: another search on
the same data and model finds them there.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import attacks, models, training
from core.data import Data
from core.errors import InputError
from results import schema
from results.files import redacted
from search.engine.bank import Bank
from search.engine.plan import Grid
from search.engine.study import Study
from search.engine.sweep import CellsFailed, Engine
from search.inputs.loading import Inputs
from search.stages import (
    ADVERSARIAL,
    AdversarialCell,
    BenignCell,
    ClassifierCell,
    Source,
    benign_study,
    classifier_study,
)

PUBLISHED = ("mnist", "cifar10", "cifar100")
PIECE_IMAGES = 1000  # images in one piece of the bank


def classifier_cell(source: Source, data: Data) -> ClassifierCell:
    """Which classifier is wanted; InputError for an unknown name or a missing checkpoint."""
    parsed = models.check_name(source.model)
    trains = models.needs_training(source.model)
    epochs = (source.epochs or training.default_epochs(source.data)) if trains else 0
    if source.epochs is not None and not trains:
        raise InputError(
            f"--epochs trains a network, but {source.model!r} comes with its weights.\n"
            "Hint: leave --epochs out, or train one here: --model small_resnet or train:NAME."
        )
    if source.architecture and parsed.source != "checkpoint":
        raise InputError(
            f"--architecture names the network of a checkpoint, but --model is {source.model!r}.\n"
            "Hint: leave --architecture out."
        )
    if (source.download or source.data_root) and source.data not in PUBLISHED:
        raise InputError(
            f"--download and --data-root are for {', '.join(PUBLISHED)}, but --data is "
            f"{source.data!r}.\nHint: leave them out."
        )
    weights_file = ""
    if parsed.source == "checkpoint":
        models.read_tensors(parsed.name)
        weights_file = hashlib.sha256(Path(parsed.name).read_bytes()).hexdigest()
    return ClassifierCell(
        data=data_label(source.data),
        side=data.side,
        fingerprint=data.fingerprint,
        model=model_label(source.model),
        architecture=source.architecture or "",
        weights_file=weights_file,
        epochs=epochs,
        seed=source.seed,
    )


def data_label(spec: str) -> str:
    """The data's name in rows: a folder, or a URI's last part, without where it lies."""
    kind, _, path = spec.partition(":")
    return f"{kind}:{Path(redacted(path)).name}" if path else kind


def model_label(spec: str) -> str:
    """The model's name in rows: a checkpoint without where it lies."""
    kind, _, path = spec.partition(":")
    return f"{kind}:{Path(path).name}" if kind == "checkpoint" else spec


class Pieces(Grid):
    """Bank cells. One of whose pieces one is lost counts as missing, though its rows are there."""

    def __init__(self, bank: Bank, study: Study, cells: Sequence[Any]) -> None:
        super().__init__(study.cell_id, cells)
        self._bank = bank
        self.rows: dict[str, Any] = {}

    def tell(self, cell_id: str, rows: Any | None) -> bool:
        """Keep rows whose pieces are in the bank."""
        if rows is not None:
            pieces, sizes = (schema.column(rows, name) for name in ("piece", "piece_bytes"))
            stored = dict(zip(pieces, sizes, strict=True))
            if not all(self._bank.has(piece, int(size)) for piece, size in stored.items()):
                return False
            self.rows[cell_id] = rows
        return super().tell(cell_id, rows)


def make(
    engine: Engine,
    study: Study,
    cells: Sequence[Any],
    sweep: str,
    *,
    label: str,
    whole_node: bool = False,
    state: dict[str, Any] | None = None,
) -> list[Any]:
    """The rows of bank cells, in their order, each made if it or its piece is missing.

    With a `state` the sweep is listed. CellsFailed where a cell fails: all else stands on it.
    """
    plan = Pieces(Bank(engine.store.root), study, cells)
    outcome = engine.sweep(study, plan, sweep, label=label, whole_node=whole_node, state=state)
    if outcome.failed:
        raise CellsFailed(outcome)
    missing = [cell for cell in cells if study.cell_id(cell) not in plan.rows]
    if missing:
        root = engine.store.root.uri
        raise InputError(
            f"a worker stored what it made under {root}, but this process does not find it there.\n"
            "Hint: --store must name a folder or object store that all machines share."
        )
    return [plan.rows[study.cell_id(cell)] for cell in cells]


@dataclass(frozen=True)
class Piece:
    """Images in the bank and what is known of each, in ascending order of margin."""

    name: str
    split: str
    subject: str  # "benign" or "adversarial"
    images: np.ndarray
    labels: np.ndarray
    undefended: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Which images the undefended network gets right."""
        right: np.ndarray = self.undefended == self.labels
        return right


def piece_of(rows: Any, split: str, subject: str) -> Piece:
    """The piece that rows of a bank cell describe."""
    image, label, undefended = (
        schema.column(rows, name) for name in ("image", "label", "undefended")
    )
    return Piece(schema.column(rows, "piece")[0], split, subject, image, label, undefended)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How many images of each kind; None: 1000, or the whole split where it is smaller."""

    benign: int | None
    adversarial: int
    report_benign: int | None
    report_adversarial: int


@dataclass(frozen=True)
class Prepared:
    """What a search stands on."""

    inputs: Inputs
    weights: str
    pieces: tuple[Piece, ...]


def prepare(
    engine: Engine,
    source: Source,
    wanted: Wanted,
    attack: attacks.Attack,
    *,
    eight_bit: bool,
    precision: str,
    splits: Sequence[str] = ("search", "report"),
) -> Prepared:
    """Classifier, benign images and adversarial examples of some splits, made or found."""
    data = source.open()
    flags = {
        "search": (wanted.benign, "--benign"),
        "report": (wanted.report_benign, "--report-benign"),
    }
    counts = {split: _count(data, split, *flags[split]) for split in splits}
    cell = classifier_cell(source, data)
    sweep = sweep_name([cell.data, str(data.side)], data.fingerprint)
    (fitted,) = make(
        engine, classifier_study(source), [cell], sweep, label="classifier", whole_node=True
    )
    weights = schema.column(fitted, "piece")[0]
    inputs = Inputs(
        data=cell.data,
        side=data.side,
        fingerprint=data.fingerprint,
        model=cell.model,
        seed=source.seed,
        precision=precision,
    )
    benign_cells = [
        BenignCell(
            **asdict(inputs), weights=weights, split=split, first=first,
            count=min(PIECE_IMAGES, count - first),
        )
        for split, count in counts.items()
        for first in range(0, count, PIECE_IMAGES)
    ]  # fmt: skip
    rows = make(engine, benign_study(source), benign_cells, sweep, label="benign images")
    benign = [piece_of(r, c.split, "benign") for r, c in zip(rows, benign_cells, strict=True)]
    attacked_cells = [
        AdversarialCell(
            **asdict(inputs), weights=weights, split=piece.split, benign=piece.name, count=count,
            attack=attack.name, eps_255=attack.eps_255, step_255=attack.step_255,
            n_steps=attack.n_steps, n_restarts=attack.n_restarts, eight_bit=eight_bit,
        )
        for split, n in (("search", wanted.adversarial), ("report", wanted.report_adversarial))
        if split in counts and n
        for piece, count in _share_out([p for p in benign if p.split == split], n)
    ]  # fmt: skip
    rows = make(engine, ADVERSARIAL, attacked_cells, sweep, label="adversarial examples")
    attacked = [
        piece_of(r, c.split, "adversarial") for r, c in zip(rows, attacked_cells, strict=True)
    ]
    return Prepared(inputs, weights, (*attacked, *benign))


def held_out(
    engine: Engine,
    source: Source,
    *,
    benign: int | None,
    precision: str,
    attack: attacks.Attack | None = None,
    adversarial: int = 0,
) -> Prepared:
    """The classifier and held-out images alone: benign, and so many under an attack."""
    assert attack is not None or not adversarial
    wanted = Wanted(
        benign=None, adversarial=0, report_benign=benign, report_adversarial=adversarial
    )
    return prepare(
        engine, source, wanted, attack or attacks.Attack.with_defaults("fgsm"), eight_bit=True,
        precision=precision, splits=("report",),
    )  # fmt: skip


def sweep_name(words: Sequence[str], asked: object) -> str:
    """A name for people and folders: words, then a hash of what was asked (JSON)."""
    slug = re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-.")
    text = json.dumps(asked, sort_keys=True)
    return f"{slug[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _count(data: Data, split: str, wanted: int | None, flag: str) -> int:
    size = data.size(split)
    if wanted is None:
        return min(1000, size)
    if not 1 <= wanted <= size:
        raise InputError(
            f"{flag} must lie in 1..{size}, the images in the {split} split of {data.spec}, "
            f"got {wanted}.\nHint: leave {flag} out for as many as there are, up to 1000."
        )
    return wanted


def _share_out(pieces: list[Piece], n_wanted: int) -> list[tuple[Piece, int]]:
    """How many examples to make of each piece: of the first correctly classified images."""
    right = sum(int(piece.right.sum()) for piece in pieces)
    if not 1 <= n_wanted <= right:
        raise InputError(
            f"{n_wanted} adversarial examples of the {pieces[0].split} split need as many "
            f"correctly classified images; the network gets {right} of "
            f"{sum(len(p.images) for p in pieces)} right.\n"
            "Hint: fewer examples (--adversarial, --report-adversarial), more benign images "
            "(--benign, --report-benign), or a better network (--epochs)."
        )
    shares: list[tuple[Piece, int]] = []
    for piece in pieces:
        share = min(int(piece.right.sum()), n_wanted - sum(count for _, count in shares))
        if share:
            shares.append((piece, share))
    return shares
