"""What a job says, and writing it where people find it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from results.rowfile import encoded
from results.store import VERDICT, Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMS = "SHA256SUMS"  # of an answer's files, as `sha256sum --check` reads it


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Text to print, tables and pictures by name, further files by their names.

    `verdict` is all of it in one sentence, for those who read no more. A picture that is a function
    is drawn if need be; text, tables and files decide what it shows.
    """

    text: str
    verdict: str = ""
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, "Figure | Callable[[], Figure]"] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)  # what was left out, and why


def publish(
    store: Store, study: str, sweep: str, answer: Answer, *, again: bool = True
) -> Iterator[tuple[str, str]]:
    """Write an answer into `answers/SWEEP`; what and where, one by one, and last their SUMS.

    Unless `again`, pictures that may stay are not drawn where they lie beside this very answer.
    """
    yield "rows", store.root.path(store.folder(study, sweep))
    files = {"answer.txt": f"{answer.text}\n".encode()}
    files |= {f"{name}.parquet": encoded(_table(f)) for name, f in answer.frames.items()}
    kept = {} if again else _pictures(store, sweep, {**files, **answer.files})
    for name, figure in ((f"{name}.png", figure) for name, figure in answer.figures.items()):
        files[name] = kept[name] if callable(figure) and name in kept else _drawn(figure)
    files |= answer.files
    for name, data in files.items():
        what = "figure" if name.endswith(".png") else name.partition(".")[0]
        yield what, store.put(f"answers/{sweep}/{name}", data)
    if answer.verdict:
        files[VERDICT] = f"{answer.verdict}\n".encode()
        store.put(f"answers/{sweep}/{VERDICT}", files[VERDICT])
    sums = "".join(f"{_digest(data)}  {name}\n" for name, data in files.items())
    store.put(f"answers/{sweep}/{SUMS}", sums.encode())


def _table(frame: pd.DataFrame) -> pa.Table:
    """The frame, without the attributes that say where its rows were read: the same everywhere."""
    bare = frame.copy(deep=False)
    bare.attrs = {}
    return pa.Table.from_pandas(bare, preserve_index=False)


def _drawn(figure: "Figure | Callable[[], Figure]") -> bytes:
    from results.draw import png  # noqa: PLC0415 - a second of import

    return png(figure() if callable(figure) else figure)


def _pictures(store: Store, sweep: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Stored pictures by name, as they were drawn beside these very files; empty beside others."""
    folder = f"answers/{sweep}"
    try:
        lines = store.root.read(f"{folder}/{SUMS}").decode().splitlines()
        listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
        if any(listed.get(name) != _digest(data) for name, data in files.items()):
            return {}
        names = [name for name in listed if name.endswith(".png")]
        found = {name: store.root.read(f"{folder}/{name}") for name in names}
    except (FileNotFoundError, ValueError):
        return {}
    return {name: data for name, data in found.items() if listed[name] == _digest(data)}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
