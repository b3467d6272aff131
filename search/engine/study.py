"""A study: one question asked of many cells."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from results import schema
from search.engine.bank import Bank


def say(text: str) -> None:
    """A line of progress; standard output is for answers."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Place:
    """What a cell may use where it runs."""

    device: str  # "cpu" or "cuda"
    n_threads: int
    say: Callable[[str], None] = say


def _whole(rows: Any) -> Any:
    return rows


@dataclass(frozen=True)
class Study:
    """What is asked (`cell`), what is measured (`row`), and how.

    `load` fetches what a cell needs (cached per process, where that pays); `evaluate` turns it
    into columns, one value per row of `row`'s fields; `digest` boils a cell's rows, an Arrow
    table, down to what the plan is told of them, so that a driver of a thousand workers does not
    read every row. None has heard of Ray. Raise `version` when `evaluate` changes meaning:
    earlier rows then no longer count.
    """

    name: str
    version: int
    cell: type
    row: type
    load: Callable[[Any, Bank, Place], Any]
    evaluate: Callable[[Any, Any], schema.Columns]
    digest: Callable[[Any], Any] = _whole

    def cell_id(self, cell: Any) -> str:
        """The cell's name for ever."""
        return schema.cell_id(self.name, self.version, cell)

    def schema(self) -> Any:
        """The Arrow schema of this study's rows."""
        return schema.schema_of(self.cell, self.row)
