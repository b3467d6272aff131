"""Best-first search: the exhaustive winner, proved, for a fraction of the work.

Images are asked in order of margin, the most wrong first. What is not yet measured is taken at
its best: every adversarial image may be defended, every benign image that was wrong may turn
right, none that was right may turn wrong. That bounds each table's rank from above. The table
with the highest bound is measured further; a table whose bound falls below the best complete
feasible table, or whose decline is beyond repair, is never touched again.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from core.qtable import TwoStep
from search.prepare import Piece
from search.table_search import Block, Digest, Tally, blocks

# Every table needs adversarial rows, so those are asked of many at a time. Benign rows are asked
# of the few that lead: a cell for more would measure tables that the first of them rules out.
_TABLES_PER_CELL = {"adversarial": 25, "benign": 4}
_BLOCKS_PER_SUBJECT = 16  # images are asked in so many steps: few forwards wasted, few cells
_SUBJECTS = ("adversarial", "benign")

AskFor = Callable[[Block, Sequence[str]], Any]
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
        cell: AskFor,
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
        self._of = {table.name: _Progress() for table in tally.tables}
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
        """A cell for the tables with the highest bounds; None while theirs are in flight."""
        leader = self._tally.leader()
        floor = self._tally.rank(leader) if leader else (-1, 0, 0, 0)
        bounds = {table: self.bound(table) for table in self._alive}
        self._alive = [
            table
            for table in self._alive
            if bounds[table] >= floor and self._tally.allows(-bounds[table][1])
        ]
        groups: dict[tuple[str, int], list[TwoStep]] = defaultdict(list)
        for table in sorted(self._alive, key=bounds.__getitem__, reverse=True):
            progress = self._of[table.name]
            wanted = self._wanted(progress)
            if wanted is not None and not progress.busy and not progress.failed:
                groups[wanted].append(table)
        if not groups:
            return None
        (subject, i), tables = next(iter(groups.items()))
        names = [table.name for table in tables[: _TABLES_PER_CELL[subject]]]
        for name in names:
            self._of[name].busy = True
        cell = self._cell(self._blocks[subject][i], names)
        self._in_flight[self._cell_id(cell)] = names
        return cell

    def _wanted(self, progress: _Progress) -> tuple[str, int] | None:
        """What to measure of a table next: its adversarial images, then its benign ones."""
        for subject in _SUBJECTS:
            if progress.next_block[subject] < len(self._blocks[subject]):
                return subject, progress.next_block[subject]
        return None

    def tell(self, cell_id: str, digest: Digest | None) -> bool:
        """Count what is new; a table whose cell failed is not asked again in this run."""
        for name in self._in_flight.pop(cell_id, []):
            self._of[name].busy = False
            self._of[name].failed |= digest is None
        if digest is None:
            return True
        subject = digest.subject
        i = self._block_of[subject, digest.first_image]
        names = set(digest.tables)
        known = {name for name in names if (subject, i) in self._of[name].measured}
        self._tally.add(digest, skip=known)  # two drivers may have measured the same
        for name in names:
            progress = self._of[name]
            progress.measured.add((subject, i))
            while (subject, progress.next_block[subject]) in progress.measured:
                progress.next_block[subject] += 1
        return True


def _in_order(pieces: Sequence[Piece], largest: int) -> list[Block]:
    """Blocks of all pieces, those with the smallest margins first."""
    n_images = sum(len(piece.images) for piece in pieces)
    size = max(1, min(largest, -(-n_images // _BLOCKS_PER_SUBJECT)))
    per_piece = [blocks([piece], size) for piece in pieces]
    return [block for rank in zip_longest(*per_piece) for block in rank if block is not None]
