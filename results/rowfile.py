"""One file of rows, Parquet under a seal, and the one way in which all of the project reads rows.

The seal is a digest of every other byte. It stands before the footer, where readers of Parquet
pass over it: page checksums alone do not see what happens to the footer. Files of earlier versions
have no seal, and their pages alone are checked.
"""

import hashlib
import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from results.files import Root
from results.verified import forget_verified

COMPACT = "compact-"  # files of many cells; every other file is one cell's
COMPACTING = "_compacting.parquet"  # pandas and pyarrow pass over names that begin with _
_MARK = b"qsweep sha256"
_SEALED = {b"sealed": b"sha256"}  # what the footer says: whoever rewrites the file breaks the seal


class DamagedError(ValueError):
    """A file of rows that cannot be used; `name` is its own, within the root."""

    def __init__(self, root: Root, name: str, reason: str) -> None:
        """`reason` says what is wrong with it."""
        super().__init__(
            f"{root.path(name)} is damaged: {reason}.\n"
            "Hint: run the sweep's command again; it sets the file aside and mends the rows."
        )
        self.name, self.reason = name, reason


def encoded(rows: pa.Table, *, merged: bool = False) -> bytes:
    """A sealed Parquet file: made fast, or `merged`: small, with statistics to filter."""
    sink, kind = pa.BufferOutputStream(), "zstd" if merged else "snappy"
    rows = rows.replace_schema_metadata((rows.schema.metadata or {}) | _SEALED)
    pq.write_table(rows, sink, compression=kind, write_statistics=merged, write_page_checksum=True)
    data = bytes(sink.getvalue())
    start = _footer(data)
    return b"".join((data[:start], _MARK, hashlib.sha256(data).digest(), data[start:]))


def decoded(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """A file's rows, or some of their columns. ValueError says what is wrong with it."""
    footer = _footer(data)
    start = max(0, footer - len(_MARK) - hashlib.sha256().digest_size)
    sealed = data.startswith(_MARK, start)
    if sealed:
        whole = hashlib.sha256(data[:start])
        whole.update(data[footer:])
        if data[start + len(_MARK) : footer] != whole.digest():
            raise ValueError("its bytes are not those that were written")
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        rows = file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no whole Parquet file: {error}") from error
    if not sealed and _SEALED.items() <= (rows.schema.metadata or {}).items():
        raise ValueError("it was rewritten: its seal is gone")
    return rows


def _footer(data: bytes) -> int:
    """Where the footer begins: before the last 8 bytes, its length and "PAR1"."""
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def check_place(rows: pa.Table, name: str, study: str) -> None:
    """ValueError for a file of another study or, unless it is compacted, of another cell."""
    footer = rows.schema.metadata or {}
    if footer.get(b"study") != study.encode():
        raise ValueError("it belongs to another study")
    if name.startswith((COMPACT, COMPACTING)):
        return
    cell_id = footer.get(b"cell_id", b"").decode()
    if f"{cell_id}.parquet" != name:
        raise ValueError(f"it holds the rows of cell {cell_id!r}")


def read_rows(root: Root, name: str, study: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file of a study, or some of their columns; DamagedError names the file."""
    folder, _, own_name = name.rpartition("/")
    try:
        rows = decoded(root.read(name), columns)
        check_place(rows, own_name, study)
    except ValueError as error:
        forget_verified(root, folder)
        raise DamagedError(root, name, str(error)) from error
    return rows


def row_files(root: Root, study: str, sweep: str) -> list[str]:
    """The files that hold a sweep's rows, each row once, within the root."""
    folder = f"rows/study={study}/sweep={sweep}"
    names = {name for name in root.sizes(folder) if name.endswith(".parquet")}
    if COMPACTING in names:  # a compaction was killed: its parts may be there or not
        merged = read_rows(root, f"{folder}/{COMPACTING}", study)
        names -= set(json.loads(merged.schema.metadata[b"parts"]))
    kept = sorted(name for name in names if name == COMPACTING or not name.startswith("_"))
    return [f"{folder}/{name}" for name in kept]
