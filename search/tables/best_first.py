"""Best-first search: the exhaustive winner, proved, for a fraction of the work.

Images are asked in order of margin behind a mild table, the flat step of the favoured band, the
most wrong first: what it turns wrong, most others turn wrong. What is not yet
measured is taken at its best: every adversarial image may be defended, every benign image that was
wrong may turn right, none that was right may turn wrong. That bounds each table's rank from above.
The table with the highest bound is measured further; a table whose bound falls below the best
complete feasible table, or whose decline is beyond repair, is never touched again.

A table costs least where that is asked first which rules it out. Every 64th table goes before the
others as a probe, its adversarial images first; where a probe's decline is what rules it out, the
tables about it are asked their benign images first. So, next, for every eighth table, and the
tables about those. No table's answer depends on that.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from core.codec.qtable import TwoStep
from search.inputs.pictures import Block, Piece, blocks
from search.tables.tally import Digest, Tally

# What is to rule tables out is asked of many at a time. Benign rows of tables that nothing has
# ruled out yet are asked of the few that lead: the first of those may rule out the rest.
_MANY_TABLES, _FEW_TABLES = 50, 4
BLOCKS_PER_SUBJECT = 40  # images are asked in so many steps: few forwards wasted, few cells
_PROBE_EVERY = (64, 8)  # tables: what goes first, and what goes before the others
_SUBJECTS = ("adversarial", "benign")

Rank = tuple[int, int, int, int]


@dataclass
class _Progress:
    """How far one table is measured."""

    next_block: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SUBJECTS, 0))
    measured: set[tuple[str, int]] = field(default_factory=set)
    busy: bool = False  # a cell of it is in flight
    failed: bool = False


class BestFirst:
    """A plan over a tally's tables; when it ends, the tally's leader is the winner.

    Which tables beside the winner are measured, and how far, depends on the order in which
    cells come back; the winner does not.
    """

    n_cells: int | None = None  # depends on what is measured
    eager = False  # a cell asked for too early may be of a table that its neighbours rule out
    cell_ids: Collection[str] | None = None

    def __init__(
        self,
        tally: Tally,
        pieces: Sequence[Piece],
        cell: Callable[[Block, Sequence[str]], Any],
        cell_id: Callable[[Any], str],
        *,
        largest_block: int,
    ) -> None:
        """`cell` makes the cell that scores a block of at most `largest_block` images."""
        self._tally, self._cell, self._cell_id = tally, cell, cell_id
        self._blocks = {
            subject: _in_order([p for p in pieces if p.subject == subject], largest_block)
            for subject in _SUBJECTS
        }
        self._block_of = {
            (subject, int(image)): i
            for subject, cut in self._blocks.items()
            for i, block in enumerate(cut)
            for image in block.images
        }
        n_wrong = [int((~block.right).sum()) for block in self._blocks["benign"]]
        self._may_gain = np.cumsum([0, *n_wrong[::-1]])[::-1]  # after so many benign blocks
        self._images_after = {  # so many blocks
            subject: np.cumsum([0, *(block.count for block in cut[::-1])])[::-1]
            for subject, cut in self._blocks.items()
        }
        self._of = {table.name: _Progress() for table in tally.tables}
        self._level: dict[str, int] = {}  # the lower goes first
        self._probe_of: dict[str, str] = {}  # of the level before; the first have none
        for i, table in enumerate(tally.tables):
            every = [n for n in _PROBE_EVERY if i % n]  # probes are of the levels before
            self._level[table.name] = len(every)
            if every:
                probes = tally.tables[:: every[-1]]
                nearest = probes[min(round(i / every[-1]), len(probes) - 1)]
                self._probe_of[table.name] = nearest.name
        self._declined_after: dict[str, int] = {}  # benign blocks that ruled a table out
        self._alive = list(tally.tables)
        self._in_flight: dict[str, list[str]] = {}
        self.best = tally.best

    def bound(self, table: TwoStep) -> Rank:
        """The best rank that the table can still reach, as `Tally.rank` measures it."""
        counts, progress = self._tally.counts[table.name], self._of[table.name]
        not_asked = self._tally.n_adversarial - counts.n_adversarial
        may_gain = int(self._may_gain[progress.next_block["benign"]])
        lost = counts.n_lost - may_gain
        return (counts.n_defended + not_asked, -lost, table.n_favoured, -table.qs_af)

    def ask(self) -> Any | None:
        """A cell for the tables with the highest bounds, probes first; None while all are busy."""
        leader = self._tally.leader()
        floor = self._tally.rank(leader) if leader else (-1, 0, 0, 0)
        declined = self._declined_after
        bounds = {table: self.bound(table) for table in self._alive}
        for table in self._alive:
            if not self._tally.allows(-bounds[table][1]):
                declined[table.name] = self._of[table.name].next_block["benign"]
        self._alive = [t for t in self._alive if bounds[t] >= floor and t.name not in declined]
        groups: dict[tuple[int, str, int, bool], list[TwoStep]] = defaultdict(list)
        order = {table: (-self._level[table.name], bounds[table]) for table in self._alive}
        for table in sorted(self._alive, key=order.__getitem__, reverse=True):
            progress = self._of[table.name]
            wanted = self._wanted(table)
            if wanted is not None and not progress.busy and not progress.failed:
                groups[self._level[table.name], *wanted].append(table)
        if not groups:
            return None
        (_, subject, i, many), tables = next(iter(groups.items()))
        names = [table.name for table in tables[: _MANY_TABLES if many else _FEW_TABLES]]
        for name in names:
            self._of[name].busy = True
        cell = self._cell(self._blocks[subject][i], names)
        self._in_flight[self._cell_id(cell)] = names
        return cell

    def _wanted(self, table: TwoStep) -> tuple[str, int, bool] | None:
        """What to measure of a table next, and whether together with many tables.

        Adversarial images, then benign ones; benign ones first where they ruled out its probe, up
        to the block after that which did.
        """
        next_block = self._of[table.name].next_block
        expected = self._declined_after.get(self._probe_of.get(table.name, ""), -1)
        declines = next_block["benign"] <= expected
        for subject in reversed(_SUBJECTS) if declines else _SUBJECTS:
            if next_block[subject] < len(self._blocks[subject]):
                return subject, next_block[subject], declines or subject == "adversarial"
        return None

    def tell(self, cell_id: str, digest: Digest | None) -> bool:
        """Count what is new; a table whose cell failed is not asked again in this run."""
        for name in self._in_flight.pop(cell_id, []):
            self._of[name].busy = False
            self._of[name].failed |= digest is None
        if digest is None:
            return True
        subject = digest.subject
        i = self._block_of.get((subject, digest.first_image), -1)
        if i < 0 or not np.all(digest.n_images == self._blocks[subject][i].count):
            return False
        names = set(digest.tables)
        known = {name for name in names if (subject, i) in self._of[name].measured}
        self._tally.add(digest, skip=known)  # two drivers may have measured the same
        for name in names:
            progress = self._of[name]
            progress.measured.add((subject, i))
            while (subject, progress.next_block[subject]) in progress.measured:
                progress.next_block[subject] += 1
        return True

    def pairs(self) -> tuple[int, int]:
        """Pairs of image and table: measured, and at most still to be, of tables not ruled out."""
        counts = self._tally.counts.values()
        measured = sum(each.n_benign + each.n_adversarial for each in counts)
        left = sum(
            after[self._of[table.name].next_block[subject]]
            for table in self._alive
            for subject, after in self._images_after.items()
        )
        return measured, int(left)

    def unread(self, _: Collection[str]) -> tuple[()]:
        """None: every digest bounds a table."""
        return ()

    def waiting(self, _: str) -> None:
        """Not known: cells are made when they are asked for."""
        return


def _in_order(pieces: Sequence[Piece], largest: int) -> list[Block]:
    """Blocks of all pieces, those with the smallest margins first."""
    n_images = sum(len(piece.images) for piece in pieces)
    size = max(1, min(largest, -(-n_images // BLOCKS_PER_SUBJECT)))
    per_piece = [blocks([piece], size) for piece in pieces]
    return [block for rank in zip_longest(*per_piece) for block in rank if block is not None]
