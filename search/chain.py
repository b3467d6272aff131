"""The noise-trained chain M -> M90 -> .. -> M30, and what its members take images for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from core import codec
from core.codec import qtable
from core.defences.ensemble import seen_by
from core.training import noisy
from results import schema
from search import prepare
from search.chain_training import ChainCell, ChainRow, chain_study
from search.engine.bank import Bank
from search.engine.study import Place, Study
from search.engine.sweep import Engine
from search.inputs.loading import Inputs, classifier_of, images_of
from search.prepare import Piece
from search.stages import Source

__all__ = ["MEMBERS", "OUTPUTS", "ChainCell", "ChainRow", "Member", "make_chains", "make_outputs"]

MEMBERS = ("M", *(f"M{quality}" for quality in noisy.QUALITIES))


@dataclass(frozen=True)
class Member:
    """A network of an ensemble, and the quality at which it sees images."""

    name: str
    weights: str  # its piece in the bank
    table: str  # as core.codec.qtable.by_name reads it, "" for M, which sees images as they are


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


def make_chains(
    engine: Engine,
    source: Source,
    cells: Sequence[ChainCell],
    *,
    sweep: str | None = None,
) -> list[tuple[Member, ...]]:
    """Each cell's members, M first, trained or found in the bank.

    All that is fine-tuned from one M lies in one sweep, so no study trains what another has; a
    study that measures the training itself names its own. CellsFailed where a chain fails.
    """
    if sweep is None:
        (sweep,) = {chain_sweep(cell) for cell in cells}
    made = prepare.make(engine, chain_study(source), cells, sweep, label="noise-trained chain")
    return [members_of(cell, rows) for cell, rows in zip(cells, made, strict=True)]


def chain_sweep(cell: ChainCell) -> str:
    """Where the rows of all chains lie that begin with the cell's M."""
    return prepare.sweep_name([cell.data, str(cell.side), "chains"], cell.weights)


def members_of(cell: ChainCell, rows: Any) -> tuple[Member, ...]:
    """The members that a chain's rows describe, M first."""
    names, pieces = (schema.column(rows, name) for name in ("member", "piece"))
    piece_of = dict(zip(names, pieces, strict=True))
    trained = [
        Member(
            f"M{quality}",
            piece_of[f"M{quality}"],
            noisy.table_name(cell.codec, cell.table, quality),
        )
        for quality in cell.qualities
    ]
    return (Member("M", cell.weights, ""), *trained)


def make_outputs(
    engine: Engine,
    inputs: Inputs,
    members: Sequence[Member],
    pieces: Sequence[Piece],
    sweep: str,
    *,
    label: str = "members' outputs",
    state: dict[str, Any] | None = None,
) -> dict[tuple[Member, str], np.ndarray]:
    """Softmax outputs, float32 [n, classes] in the piece's order, by member and piece name."""
    asked = [(member, piece) for member in members for piece in pieces]
    cells = [
        OutputsCell(
            **{name: getattr(inputs, name) for name in Inputs.__dataclass_fields__},
            weights=member.weights, table=member.table, split=piece.split, subject=piece.subject,
            images=piece.name,
        )
        for member, piece in asked
    ]  # fmt: skip
    made = prepare.make(engine, OUTPUTS, cells, sweep, label=label, state=state)
    bank, found = Bank(engine.store.root), {}
    for (member, piece), rows in zip(asked, made, strict=True):
        tensors, _ = bank.get(schema.column(rows, "piece")[0])
        found[member, piece.name] = tensors["outputs"].numpy()
    return found


def _place(_: OutputsCell, bank: Bank, place: Place) -> tuple[Bank, Place]:
    return bank, place


def _outputs(cell: OutputsCell, inputs: tuple[Bank, Place]) -> schema.Columns:
    bank, place = inputs
    images = images_of(bank, cell.images)
    network = classifier_of(bank, cell.weights, place.device, cell.precision)
    table = qtable.by_name(cell.table) if cell.table else None
    with torch.inference_mode():
        parts = [
            network(seen_by(codec.to_pixels(part.to(place.device)), table)).softmax(1).cpu()
            for part in torch.split(images.images, 64)
        ]
    outputs = torch.cat(parts).float()
    piece, n_bytes = bank.put({"outputs": outputs, "ids": images.ids})
    return {
        "image": images.ids.numpy(),
        "label": images.labels.numpy(),
        "undefended": images.undefended.numpy(),
        "predicted": outputs.argmax(1).numpy(),
        "piece": [piece] * len(images.ids),
        "piece_bytes": [n_bytes] * len(images.ids),
    }


OUTPUTS = Study("member_outputs", 2, OutputsCell, OutputsRow, _place, _outputs)
