"""What a sweep leaves beside its rows for people: its state, and a plain log of each run."""

import datetime as dt
import os
import re
import time
from typing import Any

from results.shown import scrubbed
from results.store import Store
from search.cluster import provenance
from search.progress import say

_EVERY_S = 5.0
_PROGRESS_EVERY_S = 60.0
_MOST_LINES = 5000


def now() -> str:
    """This moment, UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


class Record:
    """Keeps `sweeps/STUDY/SWEEP.json` and `logs/STUDY/SWEEP/RUN.log` up to date.

    Neither is needed for anything: where they cannot be written the sweep goes on, and says so.
    """

    def __init__(self, store: Store, study: str, sweep: str, facts: dict[str, Any]) -> None:
        """`facts`: what does not change while the sweep runs."""
        self._store, self._study, self._sweep = store, study, sweep
        started_at = now()
        self._facts = facts | {
            "study": study,
            "sweep": sweep,
            "started_at": started_at,
            "host": provenance.host(),
            "pid": os.getpid(),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
        }
        stamp = re.sub(r"[-:]|\+.*", "", started_at)  # with microseconds
        self._run = f"{stamp}Z-{provenance.host()}-{os.getpid()}"
        self._lines: list[str] = []
        self._n_written = 0
        self._state_at = self._progress_at = time.monotonic()
        self._warned = False
        for name in ("command", "commit", "versions"):
            if name in self._facts:
                self.log(f"{name}: {self._facts[name]}")

    def log(self, text: str) -> None:
        """A line with the time; written with the next state."""
        if len(self._lines) < _MOST_LINES:
            self._lines.append(f"{now()[:19]}Z  {scrubbed(text)}")

    def due(self) -> bool:
        """Whether the state was not written for some seconds."""
        return time.monotonic() - self._state_at > _EVERY_S

    def progress(self, line: str) -> None:
        """A line of progress, at most one a minute."""
        if time.monotonic() - self._progress_at > _PROGRESS_EVERY_S:
            self._progress_at = time.monotonic()
            self.log(line)

    def write(self, state: dict[str, Any]) -> None:
        """Write state and log; never raises."""
        self._state_at = time.monotonic()
        try:
            whole = self._facts | {"updated_at": now()} | state
            self._store.write_state(self._study, self._sweep, whole)
            if len(self._lines) > self._n_written:
                self._store.write_log(self._study, self._sweep, self._run, self._lines)
                self._n_written = len(self._lines)
        except OSError as error:
            if not self._warned:
                say(f"warning: the sweep's state could not be written: {error}")
            self._warned = True
