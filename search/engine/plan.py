"""Plans: which cell next. They live in the driver and know nothing of where cells run."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

Digest = Any  # what a study's `digest` made of a cell's rows; the rows themselves by default


class Plan(Protocol):
    """Hands out cells and learns from their rows."""

    n_cells: int | None  # how many there are in all, None where that depends on the rows
    eager: bool  # whether cells may queue at the workers; else each waits for what it can learn
    cell_ids: Collection[str] | None  # which; only their rows are read

    def ask(self) -> Any | None:
        """The next cell, or None when there is none to hand out now.

        After None the sweep waits for rows in flight and asks again; it ends when none are.
        """

    def tell(self, cell_id: str, digest: Digest | None) -> bool:
        """Learn of a cell's rows, None if it failed. One never asked for is from an earlier run.

        False where the plan has no use for such a cell: it is no part of this sweep.
        """

    def unread(self, cell_ids: Collection[str]) -> Collection[str]:
        """Those of these cells, stored and known to be whole, that are done without a digest."""

    def waiting(self, cell_id: str) -> Any | None:
        """The cell of that id where it waits to be handed out, None where that is not known."""

    def best(self) -> str:
        """The best answer so far, a few words for the progress line; empty where there is none."""

    def pairs(self) -> tuple[int, int] | None:
        """Where `n_cells` is unknown: how many pairs are measured, and at most are still to be.

        A pair is the least that a cell measures. None where the cells say all.
        """


class Grid:
    """Every cell, in the order given, but those that are told first."""

    eager = True

    def __init__(
        self,
        cell_id: Callable[[Any], str],
        cells: Iterable[Any],
        *,
        watch: Callable[[Digest], None] | None = None,
        best: Callable[[], str] | None = None,
    ) -> None:
        """`watch` sees the digest of every cell.

        With `best`, which words the answer so far, it does so where a cell is still to be run.
        """
        self._waiting = OrderedDict((cell_id(cell), cell) for cell in cells)
        self.cell_ids: Collection[str] | None = frozenset(self._waiting)
        self._watch, self._words = watch, best
        self.n_cells: int | None = len(self._waiting)

    def ask(self) -> Any | None:
        """The next cell that nobody has told."""
        return self._waiting.popitem(last=False)[1] if self._waiting else None

    def tell(self, cell_id: str, digest: Digest | None) -> bool:
        """Pass it on to `watch`; cells that are not of this grid are no use."""
        if cell_id not in (self.cell_ids or ()):
            return False
        self._waiting.pop(cell_id, None)
        if digest is not None and self._watch is not None:
            self._watch(digest)
        return True

    def unread(self, cell_ids: Collection[str]) -> Collection[str]:
        """All of them, unless somebody watches; then all or none, where it is for `best` alone."""
        taken = self._waiting.keys() & cell_ids
        if self._watch is not None and (self._words is None or len(taken) < len(self._waiting)):
            return ()
        for cell_id in taken:
            del self._waiting[cell_id]
        return taken

    def best(self) -> str:
        """What the `best` that was given says."""
        return self._words() if self._words is not None else ""

    def pairs(self) -> None:
        """None: the cells are counted."""
        return

    def waiting(self, cell_id: str) -> Any | None:
        """The cell of that id, until it is handed out or told."""
        return self._waiting.get(cell_id)
