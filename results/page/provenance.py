"""How rows were made: what their columns of provenance say, and the logs of the runs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from results.rowfile import read_rows, row_files
from results.store import Store

_TEXTS = ("commit", "versions", "hardware", "host")
_COLUMNS = ("cell_id", *_TEXTS, "seed", "version", "wall_s", "finished_at")
_HEAD = re.compile(r"\S+Z  (command|commit): (.*)")


@dataclass(frozen=True)
class Making:
    """Where one sweep's rows come from."""

    n_cells: int
    n_rows: int
    origins: dict[str, tuple[str, ...]]  # commit, versions, hardware, host, seed, version: all met
    work_s: float  # of all cells, one after the other
    first_at: str  # when the first cell and the last one ended, UTC, ISO 8601
    last_at: str


@dataclass(frozen=True)
class LoggedRun:
    """One run of a sweep, as its log tells it."""

    name: str  # time, host and process
    command: str
    commit: str
    last: str  # the last line that it wrote


def making(store: Store, study: str, sweep: str) -> Making | None:
    """What the rows of a sweep say of themselves; None where there are none.

    Reads the columns of provenance alone, file by file: 35 million rows need no more memory than
    their cells do. ValueError where a file is damaged.
    """
    n_rows, parts = 0, []
    for name in row_files(store.root, study, sweep):
        rows = read_rows(store.root, name, study, _COLUMNS)
        n_rows += len(rows)
        parts.append(rows.to_pandas().drop_duplicates("cell_id").astype({"cell_id": str}))
    if not n_rows:
        return None
    cells = pd.concat(parts).drop_duplicates("cell_id")
    named = [name for name in (*_TEXTS, "seed", "version") if name in cells]
    origins = {name: tuple(sorted(cells[name].astype(str).unique())) for name in named}
    ended = cells["finished_at"].map(lambda moment: moment.isoformat(timespec="microseconds"))
    work_s = float(cells["wall_s"].sum())
    return Making(len(cells), n_rows, origins, work_s, first_at=ended.min(), last_at=ended.max())


def logged_runs(store: Store, study: str, sweep: str) -> Iterator[LoggedRun]:
    """The runs of a sweep that left a log, the oldest first."""
    for name, text in store.logs(study, sweep):
        lines = text.splitlines()
        said = {found[1]: found[2] for found in map(_HEAD.fullmatch, lines) if found}
        last = lines[-1] if lines else ""
        yield LoggedRun(name, said.get("command", ""), said.get("commit", ""), last)
