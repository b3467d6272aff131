"""What a job says, and writing it where people find it."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure

from results.draw import png
from results.rowfile import encoded
from results.store import Store

SUMS = "SHA256SUMS"  # of an answer's files, as `sha256sum --check` reads it


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Text to print, tables and pictures by name, further files by their names."""

    text: str
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)  # what was left out, and why


def publish(store: Store, study: str, sweep: str, answer: Answer) -> Iterator[tuple[str, str]]:
    """Write an answer into `answers/SWEEP`; what and where, one by one, and last their SUMS."""
    yield "rows", store.root.path(store.folder(study, sweep))
    files = {"answer.txt": f"{answer.text}\n".encode()}
    tables = {n: pa.Table.from_pandas(f, preserve_index=False) for n, f in answer.frames.items()}
    files |= {f"{name}.parquet": encoded(table) for name, table in tables.items()}
    files |= {f"{name}.png": png(figure) for name, figure in answer.figures.items()}
    files |= answer.files
    for name, data in files.items():
        what = "figure" if name.endswith(".png") else name.partition(".")[0]
        yield what, store.put(f"answers/{sweep}/{name}", data)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    store.put(f"answers/{sweep}/{SUMS}", sums.encode())
