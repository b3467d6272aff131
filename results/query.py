"""Reading rows back: by pandas alone, or typed by these helpers.

pd.read_parquet("results/out/rows/study=qtable_search")     # works as it is
qtable_sweeps.load("qtable_search", sweep="digits-...")     # whole numbers stay whole
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from results.files import Root
from results.rowfile import read_rows, row_files
from results.where import default_store, meant

_READERS = 16
_WHOLE: dict[Any, Any] = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}


def load(
    study: str,
    *,
    sweep: str | None = None,
    store: str | Path | Root | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The rows of one sweep, or of all sweeps of a study, as a typed DataFrame.

    `sweep` is named as `python -m results` lists it, or by the beginning or end of that; None reads
    all, told apart by their column `sweep`, and a column that some lack, as those of an earlier
    version, is null in their rows. `store` is a folder or URI, `default_store()` unless given;
    `attrs["store"]` of what is returned says which one was read. Only `columns` are read.

    ValueError where the store has no such study or sweep (the text names the store, and says what
    it has), sweeps have columns of one name and different types, or a file is damaged (the text
    names it).
    """
    root = store if isinstance(store, Root) else Root(default_store() if store is None else store)
    folder = f"rows/study={study}"
    have = [name.partition("=")[2] for name in root.folders("rows" if sweep is None else folder)]
    found = [n for n in have if n == study] if sweep is None else meant(sweep, have)
    if len(found) != 1:
        asked = f"study={study}" + ("" if sweep is None else f"/sweep={sweep}")
        raise ValueError(
            f"{'several sweeps' if found else 'no rows'} of {asked} in {root.uri}; found "
            f"{', '.join(found or have) or 'nothing'}.\n"
            "Hint: `python -m results --store URI` lists what a store holds."
        )
    sweeps = [n.partition("=")[2] for n in root.folders(folder)] if sweep is None else found
    named = [(s, name) for s in sweeps for name in row_files(root, study, s)]
    with ThreadPoolExecutor(_READERS) as readers:  # an object store answers in tens of ms
        tables = list(readers.map(lambda one: _placed(root, study, *one, columns=columns), named))
    table = pa.concat_tables(_alike(root, tables, [name for _, name in named]))
    if lacking := set(columns or ()) - set(table.schema.names):
        raise ValueError(
            f"expected columns {sorted(table.schema.names)}, asked for {sorted(lacking)}.\n"
            "Hint: leave `columns` out to read all."
        )
    frame: pd.DataFrame = table.to_pandas(types_mapper=_WHOLE.get)
    frame.attrs["store"] = root.uri
    return frame if columns is None else frame[list(columns)]


def _placed(
    root: Root, study: str, sweep: str, name: str, *, columns: Sequence[str] | None
) -> pa.Table:
    """A file's rows, with the names of the folders it lies in as columns."""
    rows = read_rows(root, name, study, columns).replace_schema_metadata()
    for folder, value in (("study", study), ("sweep", sweep)):
        if columns is None or folder in columns:
            rows = rows.append_column(folder, pa.repeat(pa.scalar(value), len(rows)))
    return rows


def _alike(root: Root, tables: list[pa.Table], names: list[str]) -> list[pa.Table]:
    """All tables with the columns of all; ValueError where one has two types."""
    whole: dict[str, pa.Field] = {}
    owners: dict[str, str] = {}
    for schema, name in dict(zip((t.schema for t in tables), names, strict=True)).items():
        for field in schema:
            owners.setdefault(field.name, name)
            if whole.setdefault(field.name, field.with_nullable(True)).type != field.type:
                raise ValueError(
                    f"the column {field.name} is {whole[field.name].type} in "
                    f"{root.path(owners[field.name])} and {field.type} in {root.path(name)}.\n"
                    "Hint: load one sweep at a time: sweep=..."
                )
    schema = pa.schema(list(whole.values()))
    return [_filled(table, schema) for table in tables]


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with null in columns that it lacks."""
    have = set(table.schema.names)
    columns = [
        table.column(f.name) if f.name in have else pa.nulls(len(table), f.type) for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
