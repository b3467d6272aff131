"""Frames as tables for people: an interval in one cell, what never varies said once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.columns import meaning
from results.schema import PROVENANCE

Interval = tuple[str, str, str]  # columns of a value and of its lower and upper limit

_MOST_DECIMALS = 6
_NOTHING = "-"
_PROVENANCE = {*PROVENANCE.names, "study", "sweep"}


@dataclass(frozen=True)
class Cell:
    """One place of a table."""

    text: str
    key: str  # what a column of numbers is sorted by; "" where nothing was measured


@dataclass(frozen=True)
class Column:
    """A head of a table, and what stands below it."""

    name: str
    is_number: bool
    cells: list[Cell]

    @property
    def about(self) -> str:
        """What it means; "" where nobody said."""
        return meaning(self.name)


@dataclass(frozen=True)
class Sheet:
    """A frame, ready to be laid out."""

    name: str
    constants: dict[str, str]  # columns that say the same in every row
    columns: list[Column]

    @property
    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """Every row of the frame, in its order."""
        return zip(*(column.cells for column in self.columns), strict=True)


def sheet(name: str, frame: pd.DataFrame) -> Sheet:
    """Lay a frame out: one column for a value and its interval, constants apart.

    An interval is `x`, `x_low`, `x_high`; or `low` and `high` behind the column they belong to.
    Counts (`n`, `n_...`) stand behind what is read first, provenance behind them.
    """
    groups = intervals(list(frame.columns))
    limits = {limit for _, *pair in groups for limit in pair}
    by_value = {group[0]: group for group in groups}
    columns, constants = [], {}
    for head in sorted((c for c in frame.columns if c not in limits), key=_rank):
        alone = head not in by_value
        column = _plain(frame[head], head) if alone else _interval(frame, by_value[head])
        columns.append(column)
        if alone and len(frame) > 1 and len(set(column.cells)) == 1:
            constants[head] = column.cells[0].text
    varying = [column for column in columns if column.name not in constants]
    return Sheet(name, constants, varying) if varying else Sheet(name, {}, columns)


def intervals(names: list[str]) -> list[Interval]:
    """The columns that are a value with its limits."""
    found = [(n, f"{n}_low", f"{n}_high") for n in names if {f"{n}_low", f"{n}_high"} <= set(names)]
    if {"low", "high"} <= set(names) and names.index("low") > 0:
        found.append((names[names.index("low") - 1], "low", "high"))
    return found


def decimals(low: NDArray[np.float64], high: NDArray[np.float64]) -> int:
    """So many that the widest interval has two digits, and at least the one of printed answers."""
    widths = (high - low)[np.isfinite(high - low)]
    widest = float(widths.max(initial=0.0)) or 1.0  # which has one decimal
    return int(np.clip(1 - np.floor(np.log10(widest)), 1, _MOST_DECIMALS))


def _rank(name: str) -> int:
    return 2 if name in _PROVENANCE else int(name == "n" or name.startswith("n_"))


def _interval(frame: pd.DataFrame, group: Interval) -> Column:
    value, low, high = (frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in group)
    places = decimals(low, high)
    cells = []
    for numbers in zip(value.tolist(), low.tolist(), high.tolist(), strict=True):
        if np.isnan(numbers[0]):
            cells.append(Cell(_NOTHING, ""))
            continue
        shown = [f"{round(number, places) + 0.0:.{places}f}" for number in numbers]  # no "-0.0"
        cells.append(Cell(f"{shown[0]} [{shown[1]}, {shown[2]}]", _key(numbers[0])))
    return Column(group[0], True, cells)


def _plain(values: "pd.Series[float]", name: str) -> Column:
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    cells = []
    for value in values.astype(object):
        if pd.api.types.is_scalar(value) and pd.isna(value):
            cells.append(Cell(_NOTHING, ""))
        elif is_number and isinstance(value, float):
            cells.append(Cell(f"{value:.6g}", _key(value)))
        else:
            cells.append(Cell(str(value), str(value)))
    return Column(name, is_number, cells)


def _key(number: float) -> str:
    return repr(number).replace("inf", "Infinity")  # as browsers write it
