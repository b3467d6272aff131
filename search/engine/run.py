"""One sweep while it runs: cells out, rows in, and what there is to say meanwhile."""

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray

from core.errors import InputError
from search.cluster import nodes, provenance
from search.engine.plan import Plan
from search.engine.record import Record
from search.engine.study import Study, say
from search.engine.task import Done, Failed, Task, reason_of, run_cells
from search.progress import Progress, duration

if TYPE_CHECKING:
    from search.engine.sweep import Engine

_CELLS_PER_SLOT = 2  # in flight, so that no slot waits for the driver
_AHEAD_S = 0.5  # of short cells so many seconds' worth are in flight
_MOST_PER_SLOT = 256
_TASK_S = 0.1  # short cells go out together, for a task costs the driver a millisecond
_MOST_PER_TASK = 32
_LOOK_EVERY_S = 2.0  # at the cluster's resources
_WRITERS = 16  # an object store answers a write in tens of milliseconds


@dataclass
class Outcome:
    """How a sweep ended."""

    study: str
    sweep: str
    n_stored: int = 0  # cells that earlier runs had stored
    n_run: int = 0  # cells that this run stored
    failed: dict[str, str] = field(default_factory=dict)  # cell -> error


class CellsFailed(Exception):  # noqa: N818 - what happened, to be said in other words
    """Cells failed that everything else stands on."""

    def __init__(self, outcome: Outcome) -> None:
        """`outcome` names them."""
        super().__init__(f"{len(outcome.failed)} cells of {outcome.study} failed")
        self.outcome = outcome


@dataclass
class Run:
    """One sweep while it runs."""

    engine: "Engine"
    study: Study
    plan: Plan
    outcome: Outcome
    state: dict[str, Any] | None
    in_flight: dict[Any, list[tuple[str, Any]]] = field(default_factory=dict)
    n_in_flight: int = 0  # cells
    writing: dict["Future[None]", tuple[str, Any]] = field(default_factory=dict)
    looked_at: float = -1e9
    n_slots: int = 1
    n_nodes: int = 0
    record: Record | None = None

    def go(self, label: str, *, whole_node: bool) -> Outcome:
        """Run to the end; InputError where nothing can be stored."""
        cell = self.plan.ask()
        self.progress = Progress(label, self.plan.n_cells, self.outcome.n_stored)
        ended = "interrupted"
        try:
            if cell is not None and self.engine.stored_only:
                raise InputError(
                    f"{label}: not all rows are in the store {self.engine.store.root.uri}.\n"
                    "Hint: run the same command without --figure first."
                )
            if cell is not None:
                self.engine.store.check_writable()
                self._prepare_tasks(whole_node=whole_node)
                with ThreadPoolExecutor(_WRITERS, "store") as self.writers:
                    self._loop(cell)
            ended = "failed" if self.outcome.failed else "complete"
        finally:
            self.progress.close()
            for ref in self.in_flight:
                ray.cancel(ref, force=True)
            self._write_state(ended)
        self._summarise(label)
        return self.outcome

    def _prepare_tasks(self, *, whole_node: bool) -> None:
        engine = self.engine
        engine.start()
        self.cpus = engine.whole_node_cpus() if whole_node else engine.cpus
        self.gpus = engine.gpus or 0.0
        self.remote = run_cells.options(num_cpus=self.cpus, num_gpus=self.gpus)
        # Cells that lose their process together go out again alone: Ray need not try them before.
        self.remote_together = run_cells.options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0
        )
        self.task = ray.put(
            Task(
                self.study, engine.store, max(1, int(self.cpus)),
                "cuda" if self.gpus else "cpu", provenance.commit(), provenance.versions(),
            )
        )  # fmt: skip
        facts = {"version": self.study.version, "listed": self.state is not None}
        self.record = Record(
            engine.store, self.study.name, self.outcome.sweep, facts | (self.state or {})
        )
        self._write_state("running")

    def _look(self) -> None:
        """At the cluster, now and then."""
        if time.monotonic() - self.looked_at < _LOOK_EVERY_S:
            return
        self.looked_at = time.monotonic()
        self.n_slots = nodes.slots(self.cpus, self.gpus)
        n_nodes = len(nodes.nodes())
        if n_nodes != self.n_nodes:
            self._log(f"nodes: {self.n_nodes} -> {n_nodes}")
            if self.n_nodes:
                self.progress.say(f"nodes: {self.n_nodes} -> {n_nodes}")
            self.n_nodes = n_nodes

    def _room(self) -> int:
        """How many more cells may be in flight: few, but enough that no slot waits."""
        ahead = int(self.progress.pace_per_s * _AHEAD_S)
        most = self.n_slots * _MOST_PER_SLOT
        wanted = min(max(self.n_slots * _CELLS_PER_SLOT, ahead), most)
        if not self.plan.eager:
            wanted = self.n_slots
        return wanted - self.n_in_flight - max(0, len(self.writing) - _WRITERS)

    def _per_task(self) -> int:
        """How many cells go out together: more than one only where they are short."""
        if not self.plan.eager:
            return 1
        per_slot = self.progress.pace_per_s / self.n_slots
        return max(1, min(int(per_slot * _TASK_S), _MOST_PER_TASK))

    def _loop(self, cell: Any) -> None:
        while cell is not None or self.in_flight or self.writing:
            self._look()
            room, together = self._room(), self._per_task()
            while cell is not None and room > 0:
                cells: list[Any] = []
                while cell is not None and len(cells) < together:
                    cells.append(cell)
                    cell = self.plan.ask()
                self._submit(cells)
                room -= len(cells)
            self._collect()
            if cell is None:
                cell = self.plan.ask()
            if self.record is not None and self.record.due():
                self._write_state("running")

    def _submit(self, cells: list[Any]) -> None:
        self.engine.first_cell_at.setdefault(self.study.name, time.monotonic())
        remote = self.remote_together if len(cells) > 1 else self.remote
        ref = remote.remote(self.task, cells)
        self.in_flight[ref] = [(self.study.cell_id(cell), cell) for cell in cells]
        self.n_in_flight += len(cells)

    def _collect(self) -> None:
        """Wait for something to end: cells go to the store, stored cells to the plan."""
        if self.in_flight:
            refs = list(self.in_flight)
            ready, _ = ray.wait(refs, timeout=0.02 if self.writing else 1.0)
            if ready:
                ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
            for ref in ready:
                self._receive(ref)
        elif self.writing:
            wait(self.writing, return_when=FIRST_COMPLETED)
        for done in [future for future in self.writing if future.done()]:
            self._stored(done)

    def _receive(self, ref: Any) -> None:
        sent = self.in_flight.pop(ref)
        self.n_in_flight -= len(sent)
        try:
            results: list[Done | Failed] = ray.get(ref)
        except ray.exceptions.RayError as error:
            if len(sent) > 1:  # which of them took the process along?
                for _, cell in sent:
                    self._submit([cell])
                return
            results = [Failed(reason_of(getattr(error, "cause", None) or error))]
        for (cell_id, cell), result in zip(sent, results, strict=True):
            if isinstance(result, Failed):
                self._failed(cell_id, cell, result.reason)
            else:
                self._write(cell_id, result)

    def _failed(self, cell_id: str, cell: Any, reason: str) -> None:
        self.outcome.failed[cell_id] = reason
        said = f"FAILED {self.study.name} {cell_id}: {reason}\n  {cell}"
        self.progress.say(said)
        self._log(said)
        self.plan.tell(cell_id, None)
        self._step(failed=True)

    def _write(self, cell_id: str, done: Done) -> None:
        store, sweep = self.engine.store, self.outcome.sweep
        future = self.writers.submit(
            store.write_encoded, self.study.name, sweep, cell_id, done.data
        )
        self.writing[future] = (cell_id, done.digest)

    def _stored(self, future: "Future[None]") -> None:
        cell_id, digest = self.writing.pop(future)
        try:
            future.result()
        except OSError as error:
            stored = self.outcome.n_stored + self.outcome.n_run
            raise InputError(
                f"cannot write to the store {self.engine.store.root.uri}: {error}. "
                f"{stored} cells of this sweep are stored and kept.\n"
                "Hint: make room or mend the permission, then run the same command again."
            ) from error
        self.outcome.n_run += 1
        self.plan.tell(cell_id, digest)
        self._step(failed=False)

    def _step(self, *, failed: bool) -> None:
        self.progress.cell(failed=failed, best=self.plan.best)

    def _log(self, text: str) -> None:
        if self.record is not None:
            self.record.log(text)

    def _write_state(self, ended: str) -> None:
        outcome, progress = self.outcome, self.progress
        if self.record is None:
            return
        line = progress.line(self.plan.best())
        self.record.progress(line)
        if ended != "running":
            self._log(f"{ended}: {line}")
        self.record.write(
            {
                "state": ended, "n_cells": self.plan.n_cells,
                "n_done": outcome.n_stored + outcome.n_run, "n_run": outcome.n_run,
                "failed": outcome.failed, "best": self.plan.best(), "wall_s": progress.wall_s,
                "rate_per_s": progress.rate_per_s, "left_s": progress.left_s,
                "n_nodes": self.n_nodes,
            }
        )  # fmt: skip

    def _summarise(self, label: str) -> None:
        outcome = self.outcome
        say(
            f"{label}: {outcome.n_run} cells run in {duration(self.progress.wall_s)}, "
            f"{outcome.n_stored} were stored before, {len(outcome.failed)} failed",
        )
