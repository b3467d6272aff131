"""The table search's cells, and how it goes through its tables."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from core import attacks
from core.codec import frequency, qtable, scoring
from core.codec.screen import HOW, Screen
from core.defences import defence_by_name, table_and_space
from results import MeasuredBands, schema
from search.engine.plan import Grid, Plan
from search.engine.study import Study
from search.inputs.loading import BlockCell, Images, Inputs, first_images, load_block
from search.inputs.making import sweep_name
from search.inputs.pictures import Block, Piece, blocks
from search.tables.asked import Flags
from search.tables.best_first import BLOCKS_PER_SUBJECT, BestFirst
from search.tables.tally import Tally, digest, grid, measured_bands, measured_grid

PATTERNS_PER_CELL = 5  # neighbours give many identical pictures, which one cell classifies once


@dataclass(frozen=True, kw_only=True)
class Cell(BlockCell):
    """A block of images under some tables."""

    tables: tuple[str, ...]  # names of `core.codec.qtable.by_name`, or of other defences


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image under one table."""

    image: int  # id within the split
    label: int
    undefended: int  # class predicted without a codec
    table: str
    pattern: int | None  # k, or that of as many coefficients; none for tables not searched
    qs_of: int | None
    qs_af: int | None
    predicted: int
    decided: str | None = None  # screened: rough, confirmed, audited, or missed and so corrected


def evaluate(cell: Cell, loaded: tuple[Images, nn.Module | Screen]) -> schema.Columns:
    """Predict every image under every table; one row each, tables fastest."""
    images, network = loaded
    predicted, how = _predicted(network, images.images, cell.tables)
    ours = [qtable.parse_two_step(table_and_space(name)[0]) for name in cell.tables]
    n_images, n_tables = predicted.shape
    decided = schema.empty(predicted.numel())
    if isinstance(network, Screen):
        decided = schema.named(how.flatten().numpy(), HOW)
    return {
        "image": images.ids.repeat_interleave(n_tables).numpy(),
        "label": images.labels.repeat_interleave(n_tables).numpy(),
        "undefended": images.undefended.repeat_interleave(n_tables).numpy(),
        "table": schema.tiled(cell.tables, n_images),
        "pattern": schema.tiled([table and table.pattern for table in ours], n_images),
        "qs_of": schema.tiled([table and table.qs_of for table in ours], n_images),
        "qs_af": schema.tiled([table and table.qs_af for table in ours], n_images),
        "predicted": predicted.flatten().numpy(),
        "decided": decided,
    }


def _predicted(
    network: nn.Module | Screen, images: Tensor, names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """The class of each image under each name, and how it was found, int64 [n, t] both."""
    others = [n for n in names if n.startswith("jpeg") or table_and_space(n)[1] != "rgb"]
    tables = [name for name in names if name not in others]
    found: dict[str, tuple[Tensor, Tensor]] = {}
    if tables:  # those in RGB all at once
        at_once = scoring.predict(network, images, [qtable.by_name(name) for name in tables])
        found |= zip(tables, _columns(at_once), strict=True)
    if others:
        behind = scoring.predict_behind(network, images, [defence_by_name(n) for n in others])
        found |= zip(others, _columns(behind), strict=True)
    predicted, how = zip(*(found[name] for name in names), strict=True)
    return torch.stack(predicted, 1), torch.stack(how, 1)


def _columns(scores: scoring.Scores) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(scores.predicted.unbind(1), scores.how.unbind(1), strict=True)


def n_rows(cell: Cell) -> int:
    """A row per image and table."""
    return cell.count * len(cell.tables)


_HOW = (Cell, Row, load_block, evaluate, digest, first_images, n_rows)
SEARCH, REPORT = Study("qtable_search", 2, *_HOW), Study("qtable_report", 2, *_HOW)


@dataclass(frozen=True)
class Question:
    """What is searched, on what."""

    inputs: Inputs
    weights: str
    attack: attacks.Attack
    pieces: tuple[Piece, ...]  # of both splits, adversarial first
    asked: Flags
    in_order: tuple[Piece, ...] = ()  # those of the search, as best-first asks them
    ratio: frequency.Map | None = None  # measured delta_a / delta_b; none: bands are diagonals

    def tables(self) -> Sequence[Sequence[qtable.TwoStep]]:
        """The searched tables, by pattern."""
        asked = self.asked.patterns, self.asked.qs_af, self.asked.qs_of
        if self.ratio is None:
            return grid(*asked, space=self.asked.space)
        return measured_grid(self.ratio, *asked)

    @property
    def bands(self) -> MeasuredBands | None:
        """What is to be said of measured bands."""
        return None if self.ratio is None else measured_bands(self.ratio, self.asked.patterns)

    def cell(self, block: Block, tables: Sequence[str]) -> Cell:
        """The cell that scores a block of images under some tables."""
        return Cell(
            **self.inputs.fields(),
            weights=self.weights,
            attack=self.attack.name,
            eps_255=self.attack.eps_255,
            split=block.piece.split,
            subject=block.piece.subject,
            piece=block.piece.name,
            first=block.first,
            count=block.count,
            tables=tuple(tables),
        )

    def of(self, split: str) -> list[Piece]:
        """The images of a split, adversarial first."""
        return [piece for piece in self.pieces if piece.split == split]

    def under(self, names: Sequence[str], split: str = "report") -> list[Cell]:
        """Some tables on all images of a split."""
        return [self.cell(block, names) for block in blocks(self.of(split), self.asked.block)]

    def plan(self) -> tuple[Plan, Tally]:
        """How the search goes through its tables."""
        rows, size = self.tables(), self.asked.block
        pieces = self.in_order or self.of("search")
        n_benign, n_adversarial = (
            sum(len(p.images) for p in pieces if p.subject == subject)
            for subject in ("benign", "adversarial")
        )
        everything = [table for row in rows for table in row]
        tally = Tally(everything, n_benign, n_adversarial, self.asked.max_decline)
        if self.asked.best_first:
            return BestFirst(tally, pieces, self.cell, SEARCH.cell_id, largest_block=size), tally
        together = (
            [table.name for row in rows[i : i + PATTERNS_PER_CELL] for table in row]
            for i in range(0, len(rows), PATTERNS_PER_CELL)
        )
        cells = (self.cell(block, names) for names in together for block in blocks(pieces, size))
        return Grid(SEARCH.cell_id, cells, watch=tally.add, best=tally.best), tally

    @property
    def sweep(self) -> str:
        """The search's name in the store: another question is another sweep."""
        inputs, attack, asked = self.inputs, self.attack, self.asked
        words = [inputs.data, str(inputs.side), *["measured"] * (self.ratio is not None)]
        words += [asked.space] * (asked.space != "rgb")
        words += [inputs.model, attack.name, f"eps{attack.eps_255:g}"]
        words += ["best-first"] * asked.best_first
        size = BLOCKS_PER_SUBJECT if asked.best_first else PATTERNS_PER_CELL
        what: list[object] = [asdict(inputs), self.weights, asdict(attack)]
        what += [asked.patterns, asked.qs_af, asked.qs_of, asked.strategy, asked.block, size]
        what += [[piece.name for piece in (*self.pieces, *self.in_order)]]
        if asked.best_first:  # which cells it asks depends on the limit
            what += [asked.max_decline]
        if self.ratio is not None:
            what += [[row[0].name for row in self.tables()]]
        if asked.space != "rgb":
            what += [asked.space]
        return sweep_name(words, what)
