"""The store: a folder or object store that holds rows, the state of sweeps, and what is shared.

docs/design.md draws its folders. A cell is done when its rows are there: that is all of resume.
"""

import contextlib
import hashlib
import itertools
import json
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from results.files import Root
from results.rowfile import COMPACT, COMPACTING, check_place, decoded, encoded, read_rows, row_files
from results.verified import Checked

_ID = 20  # hexadecimal digits of a cell's id
_CELL_FILE = re.compile(rf"[0-9a-f]{{{_ID}}}\.parquet")
_ROOM = 2**20  # bytes that must fit before work begins
VERDICT = "verdict.txt"  # of an answer: all of it in one sentence
_DIGEST = "digest"  # of a state
_STATE = ("study", "sweep", "state", "n_cells", "n_done", "failed", "best", "updated_at")


@dataclass(frozen=True)
class SetAside:
    """A file that could not be used, and where it is now."""

    name: str
    reason: str
    moved_to: str


@dataclass
class Found:
    """What `Store.cells` met on its way."""

    n_cells: int = 0
    checked: dict[str, Checked] = field(default_factory=dict)  # cells with a file of their own
    set_aside: list[SetAside] = field(default_factory=list)


class Store:
    """Rows and sweep states under one root."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.read_from: set[str] = set()  # folders whose cells were asked for

    @staticmethod
    def folder(study: str, sweep: str) -> str:
        """Where a sweep's rows lie, below the root."""
        return f"rows/study={study}/sweep={sweep}"

    def write(self, study: str, sweep: str, rows: pa.Table) -> None:
        """Store a cell's rows: the moment at which it is done. OSError leaves nothing behind."""
        cell_id = rows.schema.metadata[b"cell_id"].decode()
        self.write_encoded(study, sweep, cell_id, encoded(rows))

    def write_encoded(self, study: str, sweep: str, cell_id: str, data: bytes) -> None:
        """As `write`, of rows that `encoded` made a file of elsewhere."""
        self.root.write(f"{self.folder(study, sweep)}/{cell_id}.parquet", data)

    def cells(
        self,
        study: str,
        sweep: str,
        schema: pa.Schema,
        found: Found,
        *,
        version: int,
        only: Collection[str] | None = None,
        n_rows: Callable[[str], int | None] = lambda _: None,
    ) -> Iterator[tuple[str, pa.Table]]:
        """Every cell of a study's version that is done, read whole and checked: id and rows.

        Other versions' rows, and cells but `only` these, stay unread. Files that are torn, foreign,
        of another schema, or in which a cell has not the `n_rows` that it must have, are moved to
        `aside/` and noted in `found`; their cells are not done.
        An OSError of the store itself is raised: what cannot be reached is not torn.
        """
        self._finish_compaction(study, sweep)
        seen: set[str] = set()
        folder = self.folder(study, sweep)
        self.read_from.add(folder)
        there = self.root.stamps(folder)
        for name in sorted(there, key=lambda n: not n.startswith(COMPACT)):
            if only is not None and _CELL_FILE.fullmatch(name) and name[:_ID] not in only:
                continue
            try:
                data = self.root.read(f"{folder}/{name}")
            except FileNotFoundError:
                continue  # compacted away by somebody else in this moment
            try:
                parts = list(split_cells(read_checked(data, name, study, schema, version)))
                _check_counts(parts, n_rows)
            except ValueError as error:
                found.set_aside.append(self.set_aside(study, sweep, name, str(error)))
                continue
            size, changed_at = there[name]
            for cell_id, part in parts:
                if name == f"{cell_id}.parquet" and size == len(data) and changed_at is not None:
                    found.checked[cell_id] = (size, changed_at, len(part))
                if cell_id not in seen:  # else a kill between compacting and deleting
                    seen.add(cell_id)
                    found.n_cells += 1
                    yield cell_id, part

    def set_aside(self, study: str, sweep: str, name: str, reason: str) -> SetAside:
        """Move a file of a sweep's rows away, beside those that were moved before."""
        source, target = f"{self.folder(study, sweep)}/{name}", f"aside/{study}/{sweep}/{name}"
        while self.root.exists(target):
            target += ".again"
        self.root.move(source, target)
        first_line = (reason.splitlines() or ["unreadable"])[0]
        return SetAside(self.root.path(source), first_line, self.root.path(target))

    def compact(self, study: str, sweep: str) -> int:
        """Merge a sweep's files into one, or one for each set of columns; how many were merged.

        Safe against a kill at any moment: the merged file is complete under a name that
        readers pass over, then the parts go, then it gets its name.
        """
        self._finish_compaction(study, sweep)
        folder = self.folder(study, sweep)
        alike: dict[pa.Schema, dict[str, pa.Table]] = {}  # versions may differ in their columns
        for name in row_files(self.root, study, sweep):
            table = read_rows(self.root, name, study).replace_schema_metadata()
            alike.setdefault(table.schema, {})[name.rpartition("/")[2]] = table
        groups = [parts for parts in alike.values() if len(parts) > 1]
        for parts in groups:
            footer = {"study": study, "parts": json.dumps(list(parts))}
            merged = pa.concat_tables(parts.values()).unify_dictionaries()
            data = encoded(merged.replace_schema_metadata(footer), merged=True)
            self.root.write(f"{folder}/{COMPACTING}", data)
            self._finish_compaction(study, sweep)
        return sum(map(len, groups))

    def _finish_compaction(self, study: str, sweep: str) -> None:
        folder = self.folder(study, sweep)
        if not self.root.exists(f"{folder}/{COMPACTING}"):
            return
        try:
            merged = decoded(self.root.read(f"{folder}/{COMPACTING}"))
            parts = json.loads(merged.schema.metadata[b"parts"])
        except (KeyError, TypeError, ValueError):
            self.set_aside(study, sweep, COMPACTING, "not a merged file")
            return
        for name in parts:
            self.root.delete(f"{folder}/{name}")
        n_compact = sum(n.startswith(COMPACT) for n in self.root.sizes(folder))
        self.root.move(f"{folder}/{COMPACTING}", f"{folder}/{COMPACT}{n_compact:04d}.parquet")

    def check_writable(self) -> None:
        """Raise OSError where nothing can be written, or next to nothing, before any work."""
        self.root.sweep_up()
        with self.beacon(bytes(_ROOM)):
            pass

    @contextlib.contextmanager
    def beacon(self, data: bytes = b"") -> Iterator[str]:
        """The name of a file that is there for a while: whoever sees it, shares the root."""
        name = f"sweeps/.beacon-{secrets.token_hex(4)}"
        self.root.write(name, data)
        try:
            yield name
        finally:
            self.root.delete(name)

    def put(self, name: str, data: bytes) -> str:
        """Write a file of another kind; its address."""
        self.root.write(name, data)
        return self.root.path(name)

    def write_state(self, study: str, sweep: str, state: dict[str, Any]) -> None:
        """Replace a sweep's state."""
        text = json.dumps(state | {_DIGEST: _digest(state)}, indent=1, sort_keys=True)
        self.root.write(f"sweeps/{study}/{sweep}.json", text.encode())

    def write_log(self, study: str, sweep: str, run: str, lines: Sequence[str]) -> None:
        """Replace the log of one run of a sweep."""
        self.root.write(f"logs/{study}/{sweep}/{run}.log", ("\n".join(lines) + "\n").encode())

    def logs(self, study: str, sweep: str) -> Iterator[tuple[str, str]]:
        """The logs of a sweep's runs, the oldest first: name and text."""
        folder = f"logs/{study}/{sweep}"
        for name in self.root.sizes(folder):
            text = self.root.read(f"{folder}/{name}").decode(errors="replace")
            yield name.removesuffix(".log"), text

    def sweeps(self) -> set[tuple[str, str]]:
        """Study and name of every sweep that has rows."""
        studies = [name.removeprefix("study=") for name in self.root.folders("rows")]
        return {
            (study, name.removeprefix("sweep="))
            for study in studies
            for name in self.root.folders(f"rows/study={study}")
        }

    def states(self) -> list[dict[str, Any]]:
        """The states of all sweeps; one that cannot be read is passed over."""
        found = []
        for study in self.root.folders("sweeps"):
            for name in self.root.sizes(f"sweeps/{study}"):
                with contextlib.suppress(ValueError, RecursionError, FileNotFoundError):
                    state = json.loads(self.root.read(f"sweeps/{study}/{name}"))
                    if isinstance(state, dict) and set(_STATE) <= set(state):
                        whole = state.pop(_DIGEST, None)  # not in those of earlier versions
                        if whole in (None, _digest(state)):
                            found.append(state)
        return found


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def read_checked(data: bytes, name: str, study: str, schema: pa.Schema, version: int) -> pa.Table:
    """A version's rows in one file. ValueError where it is torn or foreign."""
    if not name.endswith(".parquet"):
        raise ValueError("not a Parquet file's name")
    rows = decoded(data)
    check_place(rows, name, study)
    if not {"version", "cell_id"} <= set(rows.schema.names):
        raise ValueError("its columns are not those of this study")
    if not name.startswith(COMPACT):
        ids = rows.column("cell_id").unique().to_pylist()
        if ids != [name.removesuffix(".parquet")]:
            raise ValueError(f"it holds the rows of cell {ids}")
    rows = _with_added(rows.filter(pc.equal(rows.column("version"), version)), schema)
    if not rows.schema.equals(schema):
        if len(rows):
            raise ValueError("its columns are not those of this study")
        return schema.empty_table()
    return rows


def _with_added(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with the columns that the study has since been given and that may be empty: empty."""
    added = [column for column in schema if column.name not in rows.schema.names]
    for column in added:
        if column.nullable:
            rows = rows.append_column(column, pa.nulls(len(rows), column.type))
    known = {*rows.schema.names} == {*schema.names}
    return rows.select(schema.names) if added and known else rows


def _check_counts(
    parts: Sequence[tuple[str, pa.Table]], n_rows: Callable[[str], int | None]
) -> None:
    """ValueError where a cell has too few rows or too many."""
    for cell_id, rows in parts:
        if n_rows(cell_id) not in (None, len(rows)):
            raise ValueError(f"cell {cell_id} has {len(rows)} rows, {n_rows(cell_id)} expected")


def split_cells(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each cell, of a table in which a cell's rows stand together."""
    ids = rows.column("cell_id").cast(pa.string()).to_numpy(zero_copy_only=False)
    changes: list[int] = (np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist()
    for start, end in itertools.pairwise(sorted({0, *changes, len(ids)})):
        yield ids[start], rows.slice(start, end - start)
