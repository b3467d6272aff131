"""From a study's Cell and Row classes to typed Parquet columns, and back.

A file holds the rows of one cell: columns of provenance, then the cell's fields (the same in
every row), then the row's. Its footer names the cell in full. `study` and `sweep` are the folders
it lies in (hive partitions): whoever reads a folder gets those below it as columns.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from results.columns import meaning

Table = pa.Table
Schema = pa.Schema
Columns = Mapping[str, np.ndarray | list[Any] | pa.Array]  # fields of Row: one value per row

_TEXT = pa.dictionary(pa.int32(), pa.string())


def _described(name: str, kind: pa.DataType, *, nullable: bool, owner: type | None) -> pa.Field:
    about = meaning(name, owner)
    return pa.field(name, kind, nullable, {"description": about} if about else None)


PROVENANCE = pa.schema(
    [
        _described(name, kind, nullable=False, owner=None)
        for name, kind in (
            ("cell_id", _TEXT),
            ("version", pa.int32()),
            ("commit", _TEXT),
            ("versions", _TEXT),
            ("hardware", _TEXT),
            ("host", _TEXT),
            ("wall_s", pa.float64()),
            ("finished_at", pa.timestamp("us", tz="UTC")),
        )
    ]
)

# Columns that differ between two runs of the same cell; everything else must agree.
MEASURED = ("commit", "versions", "hardware", "host", "wall_s", "finished_at")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a cell's rows come from: one value per column of PROVENANCE but the identity."""

    commit: str
    versions: str
    hardware: str
    host: str
    wall_s: float
    finished_at: str  # ISO 8601, UTC


def cell_id(study: str, version: int, cell: Any) -> str:
    """What a cell is called for ever: a hash of study, version and the cell's fields."""
    asked = json.dumps([study, version, vars(cell)], sort_keys=True, allow_nan=False)
    return hashlib.sha256(asked.encode()).hexdigest()[:20]


@lru_cache(maxsize=32)
def schema_of(cell: type, row: type) -> pa.Schema:
    """Provenance columns, then one column per field of `cell`, then of `row`.

    Each carries what it means, its `description` (`results.columns`), which no comparison sees.
    A tuple field of a cell has no column: the rows spell it out, the footer keeps it.
    TypeError for a field of another type than int, float, str, bool, or one of them or None.
    """
    fields = list(PROVENANCE)
    for owner, whole in ((cell, pa.int64()), (row, pa.int32())):
        hints = typing.get_type_hints(owner)
        own = [field.name for field in dataclasses.fields(owner)]
        own = [name for name in own if typing.get_origin(hints[name]) is not tuple]
        fields += [_field(name, hints[name], whole, owner) for name in own]
    names = Counter(field.name for field in fields)
    if twice := [name for name in names if names[name] > 1]:
        raise TypeError(f"columns {sorted(twice)} stand twice among provenance, cell and row")
    return pa.schema(fields)


def _field(name: str, hint: Any, whole: pa.DataType, owner: type) -> pa.Field:
    nullable = isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)
    if nullable:
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
    arrow = {int: whole, float: pa.float64(), str: _TEXT, bool: pa.bool_()}.get(hint)
    if arrow is None:
        raise TypeError(f"column {name}: int, float, str, bool or None expected, got {hint}")
    return _described(name, arrow, nullable=nullable, owner=owner)


def rows_table(
    schema: pa.Schema, *, study: str, version: int, cell: Any, columns: Columns, made: Provenance
) -> pa.Table:
    """Typed rows of one cell; ValueError for columns missing, unknown or of unequal length."""
    n_rows = {len(values) for values in columns.values()}
    if len(n_rows) != 1:
        raise ValueError(f"columns of one length expected, got lengths {sorted(n_rows)}")
    constants = vars(cell) | vars(made)
    constants |= {"cell_id": cell_id(study, version, cell), "version": version}
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(_array(columns[field.name], field))
        elif field.name in constants:
            arrays.append(_repeat(constants[field.name], next(iter(n_rows)), field.type))
        else:
            raise ValueError(f"column {field.name} is missing; evaluate gave {sorted(columns)}")
    if unknown := set(columns) - set(schema.names):
        raise ValueError(f"columns {sorted(unknown)} are not fields of Row")
    footer = {"cell_id": constants["cell_id"], "study": study, "cell": json.dumps(vars(cell))}
    return pa.Table.from_arrays(arrays, schema=schema.with_metadata(footer))


def tiled(values: Sequence[Any], n_times: int) -> pa.Array:
    """A column of the same values over and over: of texts, or of numbers and None."""
    place = np.tile(np.arange(len(values), dtype=np.int32), n_times)
    if isinstance(values[0], str):
        return pa.DictionaryArray.from_arrays(pa.array(place), pa.array(values, pa.string()))
    return pa.array(values).take(pa.array(place))


def named(places: np.ndarray, names: Sequence[str]) -> pa.DictionaryArray:
    """A column of texts by their places among some names."""
    return pa.DictionaryArray.from_arrays(
        pa.array(places.astype(np.int32)), pa.array(names, pa.string())
    )


def empty(n_rows: int) -> pa.DictionaryArray:
    """A column of texts that are not there."""
    return pa.DictionaryArray.from_arrays(pa.nulls(n_rows, pa.int32()), pa.array([], pa.string()))


def _array(values: Any, field: pa.Field) -> pa.Array:
    if isinstance(values, pa.DictionaryArray):
        return values
    if pa.types.is_dictionary(field.type):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values).cast(field.type)  # a value that does not fit raises


@lru_cache(maxsize=64)  # neighbouring cells share most of their constants; -0.0 may come as 0.0
def _repeat(value: Any, n_rows: int, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        zeros = pa.array(np.zeros(n_rows, np.int32))
        return pa.DictionaryArray.from_arrays(zeros, pa.array([value], pa.string()))
    one = pa.array([value]).cast(kind) if pa.types.is_timestamp(kind) else pa.array([value], kind)
    return pa.repeat(one[0], n_rows)


def codes(rows: pa.Table, name: str) -> tuple[list[str], np.ndarray]:
    """A text column's distinct values, and for every row the position of its own among them."""
    values = rows.column(name).combine_chunks()
    indices = values.indices.to_numpy()
    used = np.bincount(indices, minlength=len(values.dictionary)) > 0
    place = (np.cumsum(used) - 1)[indices]
    return values.dictionary.filter(pa.array(used)).to_pylist(), place


def column(rows: pa.Table, name: str) -> np.ndarray:
    """One column's values; strings as Python strings, NaN where a number is missing."""
    values = rows.column(name)
    if pa.types.is_dictionary(values.type):
        values = values.cast(pa.string())
    array: np.ndarray = values.to_numpy()
    return array
