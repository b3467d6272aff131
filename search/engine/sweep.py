"""A sweep: ask a plan, have cells evaluated, store their rows, tell the plan.

The driver alone writes rows; a cell is done when its rows are stored, so a run that is killed
at any moment goes on where it was. `Engine` runs cells as Ray tasks, `Here` in this process.
"""

import abc
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import InputError
from results.shown import scrubbed
from results.store import Found, Store
from results.verified import Checked, note_verified, verified
from search.engine.plan import Plan
from search.engine.record import Record
from search.engine.study import NotStoredError, Outcome, Study
from search.engine.task import Done
from search.progress import Progress, duration, say

_MANY = 64  # files whose reading is worth sparing


class Sweeper(abc.ABC):
    """Where sweeps run."""

    store: Store
    stored_only: bool  # run nothing: a cell that is not stored is an error

    def sweep(
        self,
        study: Study[Any, Any],
        plan: Plan,
        name: str,
        *,
        label: str,
        state: dict[str, Any] | None = None,
        whole_node: bool = False,
        recorded: bool = True,
    ) -> Outcome:
        """Run the plan's missing cells under the sweep called `name`.

        `state` is what a reader of the store should know of the sweep; one without is listed
        only while it is not complete; one that is not `recorded` leaves neither state nor log.
        `whole_node` gives each cell all CPUs of a node. A failing cell is counted and named and
        does not stop the others. InputError where nothing can be stored.
        """
        outcome = Outcome(study.name, name)
        sweep = Sweep(self.store, study, plan, outcome, state, recorded)
        sweep.tell_stored()
        cell, ended = plan.ask(), "interrupted"
        sweep.progress = Progress(label, plan.n_cells, outcome.n_stored, plan.pairs)
        try:
            if cell is not None:
                if self.stored_only:
                    raise NotStoredError(
                        f"{label}: not all rows are in the store {self.store.root.uri}.\n"
                        "Hint: run the same command without --figure first."
                    )
                self.store.check_writable()
                self._run(sweep, cell, whole_node=whole_node)
            ended = "failed" if outcome.failed else "complete"
        finally:
            sweep.progress.close()
            sweep.note(ended)
            sweep.note_written()
        say(
            f"{label}: {outcome.n_run} cells run in {duration(sweep.progress.wall_s)}, "
            f"{outcome.n_stored} were stored before, {len(outcome.failed)} failed"
        )
        return outcome

    @abc.abstractmethod
    def _run(self, sweep: "Sweep", cell: Any, *, whole_node: bool) -> None:
        """Have this cell and all after it evaluated."""

    @abc.abstractmethod
    def slots(self) -> int:
        """How many cells run at a time, at least 1."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Let go of what was started."""


@dataclass
class Sweep:
    """One sweep while it runs, wherever: what is stored, told and recorded."""

    store: Store
    study: Study[Any, Any]
    plan: Plan
    outcome: Outcome
    state: dict[str, Any] | None
    recorded: bool
    record: Record | None = None
    progress: Progress = field(init=False)
    n_nodes: int = 1
    compared: dict[str, int] = field(default_factory=dict)  # rows, with the driver's CPU
    checked: dict[str, Checked] = field(default_factory=dict)  # cells stored whole, for certain
    written: dict[str, tuple[int, int]] = field(default_factory=dict)  # cell -> bytes and rows

    def tell_stored(self) -> None:
        """Tell the plan what is stored, and the user what could not be used.

        Files that stand as they were checked before are read where the plan has a use for that.
        """
        found, study, name, only = Found(), self.study, self.outcome.sweep, self.plan.cell_ids
        unread: Collection[str] = ()
        if only is not None and len(only) >= _MANY:
            self.checked = verified(self.store.root, self._folder, self._kind)
            whole = {
                cell_id
                for cell_id, (*_, n_rows) in self.checked.items()
                if self._n_rows(cell_id) in (None, n_rows)
            }
            unread = self.plan.unread(whole)
            only = frozenset(only).difference(unread)
            self.outcome.n_stored += len(unread)
        how: dict[str, Any] = {"version": study.version, "only": only, "n_rows": self._n_rows}
        for cell_id, rows in self.store.cells(study.name, name, study.schema(), found, **how):
            if cell_id not in unread:  # a compacted file has all
                self.outcome.n_stored += self.plan.tell(cell_id, study.digest(rows))
        self._note_checked(found.checked)
        for aside in found.set_aside:
            say(
                f"warning: {aside.name} cannot be used ({aside.reason}); moved to "
                f"{aside.moved_to}, its cell is computed again"
            )

    @property
    def _folder(self) -> str:
        return self.store.folder(self.study.name, self.outcome.sweep)

    @property
    def _kind(self) -> str:
        """What a file of this sweep must be: the study's version and columns."""
        return f"{self.study.version} {self.study.schema().to_string(show_field_metadata=False)}"

    def _note_checked(self, fresh: Mapping[str, Checked]) -> None:
        """Have a later run know what this one has checked, where that spares it much."""
        if len(fresh.keys() - self.checked.keys()) >= _MANY:
            self.checked |= fresh
            note_verified(self.store.root, self._folder, self._kind, self.checked)

    def note_written(self) -> None:
        """As `_note_checked`, of what this run has written."""
        if len(self.written) < _MANY:
            return
        fresh, there = {}, {}
        with contextlib.suppress(OSError):  # it may have ended for want of its store
            there = self.store.root.stamps(self._folder)
        for name, (size, changed_at) in there.items():
            n_bytes, n_rows = self.written.get(name.removesuffix(".parquet"), (-1, 0))
            if size == n_bytes and changed_at is not None:
                fresh[name.removesuffix(".parquet")] = (size, changed_at, n_rows)
        self._note_checked(fresh)

    def _n_rows(self, cell_id: str) -> int | None:
        """How many rows a cell must have that the plan waits for."""
        cell = self.plan.waiting(cell_id)
        return None if cell is None else self.study.n_rows(cell)

    def note_start(self) -> None:
        """From now on the store says that this sweep is running."""
        if self.recorded:
            facts = {"version": self.study.version, "listed": self.state is not None}
            facts |= self.state or {}
            self.record = Record(self.store, self.study.name, self.outcome.sweep, facts)
        self.note("running")

    def failed(self, cell: Any, reason: str) -> None:
        """Name a cell that has no rows."""
        cell_id = self.study.cell_id(cell)
        reason = self.outcome.failed[cell_id] = scrubbed(reason)
        self.say(f"FAILED {self.study.name} {cell_id}: {reason}\n  {cell}")
        self.plan.tell(cell_id, None)
        self.progress.cell(failed=True, best=self.plan.best)

    def write(self, cell_id: str, done: Done) -> None:
        """Store a cell's rows. InputError says what a user can do where they cannot be stored."""
        try:
            self.store.write_encoded(self.study.name, self.outcome.sweep, cell_id, done.data)
            self.written[cell_id] = (len(done.data), done.n_rows)
        except OSError as error:
            n_stored = self.outcome.n_stored + self.outcome.n_run
            raise InputError(
                f"cannot write to the store {self.store.root.uri}: {scrubbed(str(error))}. "
                f"{n_stored} cells of this sweep are stored and kept.\n"
                "Hint: make room or mend the permission, then run the same command again."
            ) from error

    def stored(self, cell_id: str, digest: Any) -> None:
        """Count a cell whose rows are in the store."""
        self.outcome.n_run += 1
        self.plan.tell(cell_id, digest)
        self.progress.cell(failed=False, best=self.plan.best)

    def say(self, text: str, *, shown: bool = True) -> None:
        """A line for the log of this run, and for people."""
        if shown:
            say(text)
        if self.record is not None:
            self.record.log(text)

    def note_when_due(self) -> None:
        """Write state and log, now and then."""
        if self.record is not None and self.record.due():
            self.note("running")

    def note(self, ended: str) -> None:
        """Write state and log."""
        if self.record is None:
            return
        outcome, progress, best = self.outcome, self.progress, self.plan.best()
        line = progress.line(best)
        self.record.progress(line)
        if ended != "running":
            self.record.log(f"{ended}: {line}")
        state = {
            "state": ended,
            "n_cells": self.plan.n_cells,
            "n_done": outcome.n_stored + outcome.n_run,
            "n_run": outcome.n_run,
            "failed": outcome.failed,
            "best": best,
            "wall_s": progress.wall_s,
            "rate_per_s": progress.rate_per_s,
            "left_s": progress.left_s,
            "n_nodes": self.n_nodes,
            **self.compared,
        }
        self.record.write(state)
