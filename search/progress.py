"""Progress of long work: a bar on a terminal, plain lines in a log."""

import contextlib
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from results.shown import plain, scrubbed
from search.later import later

with later():
    from tqdm import tqdm

_LINE_EVERY_S = 5.0
_BAR_EVERY_S = 0.2
_PACE_S = 2.0  # how long the pace remembers, at least


def say(text: str) -> None:
    """A line of progress, if anybody reads it, above a bar; standard output is for answers."""
    with contextlib.suppress(BrokenPipeError):
        if on_terminal():
            tqdm.write(plain(scrubbed(text)), file=sys.stderr)
        else:
            print(plain(scrubbed(text)), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A duration for people: "0.4 s", "12 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def on_terminal() -> bool:
    """Whether standard error can hold a bar; `ray submit` may give a log of 0 columns."""
    return sys.stderr.isatty() and shutil.get_terminal_size(fallback=(0, 0)).columns > 0


def _uncounted() -> None:
    return


class Progress:
    """Cells done and failed, rate, time left, best so far."""

    def __init__(
        self,
        label: str,
        n_cells: int | None,
        n_before: int,
        pairs: Callable[[], tuple[int, int] | None] = _uncounted,
    ) -> None:
        """`n_before` cells of `n_cells` (None: unknown) were done by earlier runs.

        Where it is unknown, `pairs` may say what is measured and what at most is left (`Plan`).
        """
        self._label, self._n_cells, self._n_before = label, n_cells, n_before
        self._pairs, self._first = pairs, pairs()
        self._start = time.monotonic()
        self._said_at = self._start
        self.n_done = self.n_failed = 0
        self._marks = deque([(self._start, 0)])  # of late: when, and how many were done
        look: dict[str, Any] = {"unit": "cell", "dynamic_ncols": True, "leave": False}
        shown = on_terminal()
        self._bar = tqdm(total=n_cells, initial=n_before, desc=label, **look) if shown else None

    @property
    def wall_s(self) -> float:
        """Seconds since the sweep began."""
        return time.monotonic() - self._start

    @property
    def rate_per_s(self) -> float:
        """Cells that this run finished per second."""
        return self.n_done / max(self.wall_s, 1e-9)

    @property
    def pace_per_s(self) -> float:
        """Cells finished per second of late: the start, when workers import torch, is forgotten."""
        then, n_then = self._marks[0]
        return (self.n_done - n_then) / max(time.monotonic() - then, 1e-9)

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest will take at this rate, at most; None where that is unknown."""
        if self.n_done == 0:
            return None
        if (now := self._pairs()) is not None and self._first is not None:
            measured, left = now[0] - self._first[0], now[1]
            return left * self.wall_s / measured if measured > 0 else None
        if self._n_cells is None:
            return None
        left = self._n_cells - self._n_before - self.n_done - self.n_failed
        return max(left, 0) / self.rate_per_s

    def cell(self, *, failed: bool, best: Callable[[], str]) -> None:
        """One more cell ended; `best` words the answer so far, where it is shown."""
        self.n_failed += failed
        self.n_done += not failed
        now = time.monotonic()
        if now - self._marks[-1][0] > _PACE_S / 4:
            self._marks.append((now, self.n_done))
        while len(self._marks) > 1 and now - self._marks[1][0] > _PACE_S:
            self._marks.popleft()  # the oldest that stays is _PACE_S ago, or more
        if self._bar is not None:
            self._bar.update(not failed)
            if time.monotonic() - self._said_at > _BAR_EVERY_S:
                self._said_at = time.monotonic()
                self._bar.set_postfix_str(self._tail(best()), refresh=False)
        elif time.monotonic() - self._said_at > _LINE_EVERY_S:
            self._said_at = time.monotonic()
            say(self.line(best()))

    def line(self, best: str) -> str:
        """The state in one plain line."""
        done = self._n_before + self.n_done
        total = "" if self._n_cells is None else f"/{self._n_cells}"
        left = f"{duration(self.left_s)} left" if self.left_s else ""
        head = f"{self._label}: {done}{total} cells, {self.rate_per_s:.1f}/s"
        if self._n_cells is None and left:
            left = f"at most {left}"
        return ", ".join(part for part in (head, left, self._tail(best)) if part)

    def _tail(self, best: str) -> str:
        failed = f"{self.n_failed} FAILED" if self.n_failed else ""
        pairs = ""
        if (now := self._pairs()) is not None:
            pairs = f"{now[0]:,} of at most {sum(now):,} pairs"
        return ", ".join(part for part in (failed, pairs, best and f"best {best}") if part)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
