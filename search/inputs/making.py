"""Cells of the bank, made or found: each is made once, and another search finds it there."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from core.errors import InputError
from results import schema
from search.engine.bank import Bank
from search.engine.plan import Grid
from search.engine.study import CellsFailed, Study
from search.engine.sweep import Sweeper

Usable = Callable[[schema.Table], bool]


class Found(Grid):
    """Bank cells. One whose piece is lost or not usable counts as missing, though it has rows.

    Without a bank the rows are enough: where nothing is to be run, no piece is asked for.
    """

    def __init__(
        self,
        bank: Bank | None,
        study: Study[Any, Any],
        cells: Sequence[Any],
        usable: Usable = lambda _: True,
    ) -> None:
        super().__init__(study.cell_id, cells)
        self._bank, self._usable = bank, usable
        self.rows: dict[str, Any] = {}

    def tell(self, cell_id: str, rows: Any | None) -> bool:
        """Keep rows whose pieces are in the bank."""
        if rows is not None:
            if not (self._there(rows) and self._usable(rows)):
                return False
            self.rows[cell_id] = rows
        return super().tell(cell_id, rows)

    def _there(self, rows: schema.Table) -> bool:
        if self._bank is None:
            return True
        pieces, sizes = (schema.column(rows, name) for name in ("piece", "piece_bytes"))
        stored = dict(zip(pieces, sizes, strict=True))
        return all(self._bank.has(piece, int(size)) for piece, size in stored.items())

    def unread(self, _: Collection[str]) -> tuple[()]:
        """None: rows name the pieces."""
        return ()


def make(
    engine: Sweeper,
    study: Study[Any, Any],
    cells: Sequence[Any],
    sweep: str,
    *,
    label: str,
    whole_node: bool = False,
    usable: Usable = lambda _: True,
) -> list[Any]:
    """The rows of bank cells, in their order, each made if it or its piece is missing.

    So are those whose stored rows are not `usable`. CellsFailed where a cell fails: all else
    stands on it.
    """
    bank = None if engine.stored_only else Bank(engine.store.root)
    plan = Found(bank, study, list(dict.fromkeys(cells)), usable)
    outcome = engine.sweep(study, plan, sweep, label=label, whole_node=whole_node)
    if outcome.failed:
        raise CellsFailed(outcome)
    if any(study.cell_id(cell) not in plan.rows for cell in cells):
        raise InputError(
            f"a worker stored what it made under {engine.store.root.uri}, but this process does "
            "not find it there.\n"
            "Hint: --store must name a folder or object store that all machines share."
        )
    return [plan.rows[study.cell_id(cell)] for cell in cells]


def piece_of(rows: schema.Table) -> str:
    """The piece that the rows of one bank cell say was made."""
    return str(schema.column(rows, "piece")[0])


def sweep_name(words: Sequence[str], asked: object) -> str:
    """A name for people and folders: words, then a hash of what was asked (JSON)."""
    slug = re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-.")
    text = json.dumps(asked, sort_keys=True)
    return f"{slug[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
