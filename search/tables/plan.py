"""The table search's cells, and how it goes through its tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from core import attacks
from core.codec import frequency, qtable, scoring
from results import MeasuredBands, schema
from search.engine.plan import Grid, Plan
from search.engine.study import Study
from search.inputs.loading import BlockCell, Images, Inputs, load_block
from search.inputs.making import sweep_name
from search.inputs.pictures import Block, Piece, blocks
from search.tables.best_first import BLOCKS_PER_SUBJECT, BestFirst
from search.tables.tally import Tally, digest, grid, measured_bands, measured_grid

PATTERNS_PER_CELL = 5  # neighbours give many identical pictures, which one cell classifies once


@dataclass(frozen=True, kw_only=True)
class Cell(BlockCell):
    """A block of images under some tables."""

    tables: tuple[str, ...]  # names, as core.codec.qtable.by_name reads them


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


def evaluate(cell: Cell, loaded: tuple[Images, torch.nn.Module]) -> schema.Columns:
    """Predict every image under every table; one row each, tables fastest."""
    images, network = loaded
    scores = scoring.predict(network, images.images, [qtable.by_name(t) for t in cell.tables])
    ours = [qtable.parse_two_step(name) for name in cell.tables]
    n_images, n_tables = scores.predicted.shape
    return {
        "image": images.ids.repeat_interleave(n_tables).numpy(),
        "label": images.labels.repeat_interleave(n_tables).numpy(),
        "undefended": images.undefended.repeat_interleave(n_tables).numpy(),
        "table": schema.tiled(cell.tables, n_images),
        "pattern": schema.tiled([table and table.pattern for table in ours], n_images),
        "qs_of": schema.tiled([table and table.qs_of for table in ours], n_images),
        "qs_af": schema.tiled([table and table.qs_af for table in ours], n_images),
        "predicted": scores.predicted.flatten().numpy(),
    }


SEARCH = Study("qtable_search", 2, Cell, Row, load_block, evaluate, digest)
REPORT = Study("qtable_report", 2, Cell, Row, load_block, evaluate, digest)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is searched, on what."""

    inputs: Inputs
    weights: str
    attack: attacks.Attack
    pieces: tuple[Piece, ...]  # of both splits, adversarial first
    patterns: tuple[int, ...]
    qs_af: tuple[int, ...]
    qs_of: int
    best_first: bool
    max_decline_points: float
    block: int
    ratio: frequency.Map | None = None  # measured delta_a / delta_b; none: bands are diagonals

    def tables(self) -> Sequence[Sequence[qtable.TwoStep]]:
        """The searched tables, by pattern."""
        asked = self.patterns, self.qs_af, self.qs_of
        return grid(*asked) if self.ratio is None else measured_grid(self.ratio, *asked)

    @property
    def bands(self) -> MeasuredBands | None:
        """What is to be said of measured bands."""
        return None if self.ratio is None else measured_bands(self.ratio, self.patterns)

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

    def report(self, names: Sequence[str]) -> list[Cell]:
        """Some tables on held-out images."""
        return [self.cell(block, names) for block in blocks(self.of("report"), self.block)]

    def plan(self) -> tuple[Plan, Tally]:
        """How the search goes through its tables."""
        rows, pieces = self.tables(), self.of("search")
        n_benign, n_adversarial = (
            sum(len(p.images) for p in pieces if p.subject == subject)
            for subject in ("benign", "adversarial")
        )
        everything = [table for row in rows for table in row]
        tally = Tally(everything, n_benign, n_adversarial, self.max_decline_points)
        if self.best_first:
            largest = self.block
            plan = BestFirst(tally, pieces, self.cell, SEARCH.cell_id, largest_block=largest)
            return plan, tally
        together = (
            [table.name for row in rows[i : i + PATTERNS_PER_CELL] for table in row]
            for i in range(0, len(rows), PATTERNS_PER_CELL)
        )
        cells = (
            self.cell(block, names) for names in together for block in blocks(pieces, self.block)
        )
        return Grid(SEARCH.cell_id, cells, watch=tally.add, best=tally.best), tally

    @property
    def sweep(self) -> str:
        """The search's name in the store: another question is another sweep."""
        inputs, attack = self.inputs, self.attack
        words = [inputs.data, str(inputs.side), *["measured"] * (self.ratio is not None)]
        words += [inputs.model, attack.name, f"eps{attack.eps_255:g}"]
        words += ["best-first"] * self.best_first
        asked: list[object] = [
            asdict(self.inputs),
            self.weights,
            asdict(self.attack),
            self.patterns,
            self.qs_af,
            self.qs_of,
            "best-first" if self.best_first else "exhaustive",
            self.block,
            BLOCKS_PER_SUBJECT if self.best_first else PATTERNS_PER_CELL,
            [piece.name for piece in self.pieces],
        ]
        if self.best_first:  # which cells it asks depends on the limit
            asked.append(self.max_decline_points)
        if self.ratio is not None:
            asked.append([row[0].name for row in self.tables()])
        return sweep_name(words, asked)
