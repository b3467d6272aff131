"""Reading rows back: by pandas alone, or typed by these helpers.

pd.read_parquet("results/out/rows/study=qtable_search")     # works as it is
results.load("qtable_search", sweep="digits-...")           # whole numbers stay whole
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from results.files import Root

DEFAULT_STORE = "results/out"
STORE_VARIABLE = "QSWEEP_STORE"

_READERS = 16
_WHOLE: dict[Any, Any] = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}


def default_store() -> str:
    """What the environment variable QSWEEP_STORE names, else `results/out`."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def load(
    study: str,
    *,
    sweep: str | None = None,
    store: str | Path | Root | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The rows of one sweep, or of all sweeps of a study, as a typed DataFrame.

    `sweep` is named as `python -m results` lists it; None reads all, told apart by their column
    `sweep`, and a column that some lack, as those of an earlier version, is null in their rows.
    `store` is a folder or URI, `default_store()` unless given; only `columns` are read. ValueError
    where the store has no such study or sweep (the text says what there is), or sweeps have columns
    of one name and different types.
    """
    root = store if isinstance(store, Root) else Root(default_store() if store is None else store)
    folder = f"rows/study={study}" + ("" if sweep is None else f"/sweep={sweep}")
    have = root.folders("rows") if sweep is None else root.folders(f"rows/study={study}")
    if Path(folder).name not in have:
        names = ", ".join(name.partition("=")[2] for name in have) or "nothing"
        raise ValueError(
            f"no rows of {folder.removeprefix('rows/')} in {root.uri}; found {names}.\n"
            "Hint: `python -m results --store URI` lists what a store holds."
        )
    sweeps = [folder] if sweep else [f"{folder}/{name}" for name in root.folders(folder)]
    folders = pa.schema([("study", pa.string()), ("sweep", pa.string())])
    dataset = ds.dataset(
        [file for place in sweeps for file in files(root, place)],
        filesystem=root.filesystem,
        format="parquet",
        partitioning=ds.partitioning(folders, flavor="hive"),
        partition_base_dir=root.within("rows"),
    )
    dataset = dataset.replace_schema(_united(dataset, root))
    table = dataset.to_table(columns=None if columns is None else list(columns))
    frame: pd.DataFrame = table.to_pandas(types_mapper=_WHOLE.get)
    return frame


def _united(dataset: ds.Dataset, root: Root) -> pa.Schema:
    """All columns of all files; Arrow alone would take those of the first."""
    parts = list(dataset.get_fragments())
    with ThreadPoolExecutor(_READERS) as readers:  # an object store answers in tens of ms
        schemas = list(readers.map(lambda part: part.physical_schema, parts))
    whole, owners = dataset.schema, dict.fromkeys(dataset.schema.names, parts[0].path)
    for part, schema in zip(parts, schemas, strict=True):
        if schema.equals(schemas[0]):
            continue
        for field in schema:
            if field.name not in owners:
                owners[field.name] = part.path
                whole = whole.append(field.with_nullable(True))
            elif whole.field(field.name).type != field.type:
                raise ValueError(
                    f"the column {field.name} is {whole.field(field.name).type} in "
                    f"{root.path(owners[field.name])} and {field.type} in {root.path(part.path)}.\n"
                    "Hint: load one sweep at a time: sweep=..."
                )
    return pa.schema([field.with_nullable(True) for field in whole])


def files(root: Root, folder: str) -> list[str]:
    """The files of rows directly in a folder of a store, as its `filesystem` wants them."""
    names = [n for n in root.sizes(folder) if n.endswith(".parquet") and not n.startswith("_")]
    return [root.within(f"{folder}/{name}") for name in names]
