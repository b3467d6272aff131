"""Deviations of DCT coefficients as cells: of benign images, and of what an attack adds to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core import attacks
from core.codec import frequency
from results import frequency as answers
from results import schema
from search.engine.study import Place, Study
from search.inputs import loading
from search.inputs.pictures import Pictures, blocks


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


def load(cell: Cell, place: Place) -> tuple[Tensor, Tensor]:
    """Attacked images and the same before, on the device."""
    bank = place.bank
    attacked = loading.images_of(bank, cell.attacked).part(cell.first, cell.count, place.device)
    benign = loading.images_of(bank, cell.before)
    order = benign.ids.argsort()
    rows = order[torch.searchsorted(benign.ids[order], attacked.ids)]
    return attacked.images, benign.images[rows].to(place.device)


def evaluate(_: Cell, loaded: tuple[Tensor, Tensor]) -> schema.Columns:
    """Moments of both, one row per channel and coefficient."""
    attacked, images = loaded
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
    inputs: loading.Inputs,
    weights: str,
    attack: attacks.Attack,
    benign: Pictures,
    attacked: Pictures,
    *,
    block: int,
) -> Iterator[Cell]:
    """Blocks of the attacked images, each with the piece that they were made from."""
    for part in blocks(attacked.pieces, block):
        piece = part.piece
        before = next(
            b.name
            for b in benign.pieces
            if b.split == piece.split and set(piece.images) <= set(b.images)
        )
        yield Cell(
            **inputs.fields(),
            weights=weights,
            attack=attack.name,
            eps_255=attack.eps_255,
            split=piece.split,
            before=before,
            attacked=piece.name,
            first=part.first,
            count=part.count,
        )


def luma_ratio(lines: Any) -> frequency.Map:
    """delta_a / delta_b in Y, of the split "search"; infinite where benign images never vary."""
    return torch.tensor(answers.ratio_map(lines, "search", "Y")).nan_to_num(torch.inf)
