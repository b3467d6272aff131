"""Deviations of DCT coefficients as cells: of benign images, and of what an attack adds to them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

import results
from core import attacks
from core.codec import frequency
from results import frequency as answers
from results import schema
from search import prepare
from search.engine.bank import Bank
from search.engine.plan import Grid
from search.engine.study import Place, Study
from search.engine.sweep import CellsFailed, Engine
from search.inputs import loading
from search.tables.tally import blocks


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """A block of attacked images, and the same images before."""

    weights: str  # the attacked classifier's piece in the bank
    attack: str
    eps_255: float
    split: str  # "search" or "report"
    before: str  # pieces in the bank
    attacked: str
    first: int  # position in the attacked piece
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """Sums over blocks of one coefficient in one channel, in levels."""

    channel: str
    u: int
    v: int
    n_blocks: int
    benign: float
    benign_squares: float
    distortion: float
    distortion_squares: float


def load(cell: Cell, bank: Bank, place: Place) -> tuple[Tensor, Tensor]:
    """Attacked images and the same before, on the device."""
    attacked = loading.images_of(bank, cell.attacked).part(cell.first, cell.count, place.device)
    benign = loading.images_of(bank, cell.before)
    order = benign.ids.argsort()
    rows = order[torch.searchsorted(benign.ids[order], attacked.ids)]
    return attacked.images, benign.images[rows].to(place.device)


def evaluate(_: Cell, inputs: tuple[Tensor, Tensor]) -> schema.Columns:
    """Moments of both, one row per channel and coefficient."""
    attacked, images = inputs
    benign, distortion = frequency.of_images(images), frequency.of_distortion(attacked, images)
    channels = frequency.CHANNELS if len(benign.total) > 1 else ("Y",)
    n_rows = 64 * len(channels)
    return {
        "channel": [channel for channel in channels for _ in range(64)],
        "u": [u for u in range(8) for _ in range(8)] * len(channels),
        "v": list(range(8)) * 8 * len(channels),
        "n_blocks": [benign.n_blocks] * n_rows,
        "benign": benign.total.flatten().cpu().numpy(),
        "benign_squares": benign.total_squares.flatten().cpu().numpy(),
        "distortion": distortion.total.flatten().cpu().numpy(),
        "distortion_squares": distortion.total_squares.flatten().cpu().numpy(),
    }


STUDY = Study("frequency_analysis", 1, Cell, Row, load, evaluate)


def cells(
    prepared: prepare.Prepared, attack: attacks.Attack, block: int, *, splits: Sequence[str]
) -> list[Cell]:
    """Blocks of the attacked images of some splits, each with the piece they were made from."""
    asked = []
    for each in blocks([p for p in prepared.pieces if p.subject == "adversarial"], block):
        piece = each.piece
        if piece.split not in splits:
            continue
        before = next(
            b for b in prepared.pieces
            if b.subject == "benign" and b.split == piece.split
            and set(piece.images) <= set(b.images)
        )  # fmt: skip
        asked.append(Cell(
            **asdict(prepared.inputs), weights=prepared.weights, attack=attack.name,
            eps_255=attack.eps_255, split=piece.split, before=before.name, attacked=piece.name,
            first=each.first, count=each.count,
        ))  # fmt: skip
    return asked


def sweep_of(asked: Sequence[Cell]) -> str:
    """What the sweep of these cells is called in the store."""
    one = asked[0]
    words = [one.data, str(one.side), one.model, one.attack, f"eps{one.eps_255:g}"]
    return prepare.sweep_name(words, [asdict(cell) for cell in asked])


def measure(engine: Engine, asked: Sequence[Cell], *, state: dict[str, Any] | None = None) -> Any:
    """What `results.frequency.deviations` makes of these cells, run where they are not stored.

    CellsFailed where one fails.
    """
    sweep = sweep_of(asked)
    plan = Grid(STUDY.cell_id, asked)
    outcome = engine.sweep(STUDY, plan, sweep, label="frequencies", state=state)
    if outcome.failed:
        raise CellsFailed(outcome)
    return answers.deviations(results.load(STUDY.name, sweep=sweep, store=engine.store.root))


def luma_ratio(lines: Any) -> frequency.Map:
    """delta_a / delta_b in Y, of the split "search"; infinite where benign images never vary."""
    return torch.tensor(answers.ratio_map(lines, "search", "Y")).nan_to_num(torch.inf)
