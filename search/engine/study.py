"""A study: one question asked of many cells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

from core.errors import InputError
from results import schema
from search.engine.bank import Bank
from search.engine.unfinished import Unfinished
from search.progress import say

C = TypeVar("C")  # a study's cells
L = TypeVar("L")  # what they load


@dataclass(frozen=True)
class Place:
    """What a cell may use where it runs."""

    device: str  # "cpu" or "cuda"
    n_threads: int
    bank: Bank
    identity: Callable[[], str]  # the cell's id, for who needs it
    say: Callable[[str], None] = say

    @property
    def kept(self) -> Unfinished:
        """Of this cell: work that is under way, where an earlier attempt left it."""
        return Unfinished(self.bank, self.identity(), self.say)


@dataclass(frozen=True)
class Made:
    """Rows of a cell whose outcome is a file of the bank.

    The engine stores it, adds the columns `piece` and `piece_bytes`, and only then forgets what
    was `unfinished`.
    """

    columns: schema.Columns
    tensors: Mapping[str, Tensor]
    metadata: dict[str, str] | None = None
    unfinished: Unfinished | None = None


def whole(rows: Any) -> Any:
    """A digest that leaves nothing out."""
    return rows


@dataclass(frozen=True)
class Study(Generic[C, L]):
    """What is asked (`cell`), what is measured (`row`), and how.

    `load` fetches what a cell needs (cached per process, where that pays); `evaluate` turns it
    into columns, one value per row of `row`'s fields; `digest` boils a cell's rows, an Arrow
    table, down to what the plan is told of them, so that a driver of a thousand workers does not
    read every row. `n_rows` is how many rows a cell has, None where the cell alone does not say:
    stored rows of another number do not count as done. None has heard of Ray, nor `evaluate` of
    the bank. Raise `version` when `evaluate` changes meaning: earlier rows then no longer count.
    """

    name: str
    version: int
    cell: type[C]
    row: type
    load: Callable[[C, Place], L]
    evaluate: Callable[[C, L], schema.Columns | Made]
    digest: Callable[[schema.Table], Any] = whole
    sample: Callable[[C], C] | None = None  # a small cell, whose rows are the first of the cell's
    n_rows: Callable[[C], int | None] = lambda _: None

    def cell_id(self, cell: Any) -> str:
        """The cell's name for ever."""
        return schema.cell_id(self.name, self.version, cell)

    def schema(self) -> schema.Schema:
        """The Arrow schema of this study's rows."""
        cell: type = self.cell
        return schema.schema_of(cell, self.row)


@dataclass
class Outcome:
    """How a sweep ended."""

    study: str
    sweep: str
    n_stored: int = 0  # cells that earlier runs had stored
    n_run: int = 0  # cells that this run stored
    failed: dict[str, str] = field(default_factory=dict)  # cell -> error


class NotStoredError(InputError):
    """Rows that a run which may compute nothing lacks."""


class CellsFailed(Exception):  # noqa: N818 - what happened, to be said in other words
    """Cells failed that everything else stands on."""

    def __init__(self, outcome: Outcome) -> None:
        """`outcome` names them."""
        super().__init__(f"{len(outcome.failed)} cells of {outcome.study} failed")
        self.outcome = outcome
