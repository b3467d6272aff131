"""The engine: ask a plan, run cells as Ray tasks, store their rows, tell the plan.

This module is Ray's one home. The driver alone writes rows; a cell is done when its rows are
stored, so a run that is killed at any moment goes on where it was.
"""

import datetime as dt
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import ray
import torch

from core.errors import InputError
from results import schema
from results.store import Found, Store
from search import provenance
from search.bank import Bank
from search.plan import Plan
from search.progress import Progress, duration, on_terminal
from search.study import Place, Study, say

_CELLS_PER_SLOT = 2  # in flight, so that no slot waits for the driver
_STATE_EVERY_S = 5.0
_NOISY_LOGGER = "ray._private.authentication.authentication_token_setup"


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


@ray.remote(max_retries=3, retry_exceptions=False)  # lost workers and nodes are retried, bugs not
def _run_cell(study: Study, cell: Any, store: Store, n_threads: int, device: str) -> Any:
    """All that Ray adds to `evaluate`: somewhere to run, and a clock."""
    torch.set_num_threads(n_threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"a GPU was asked for, but torch finds none on {provenance.host()}.\n"
            "Hint: --gpus 0 computes on CPUs; or install the CUDA build and driver there."
        )
    return evaluate_cell(study, cell, store, Place(device, n_threads))


def evaluate_cell(study: Study, cell: Any, store: Store, place: Place) -> Any:
    """One cell, here and now: its typed rows as an Arrow table."""
    start = time.perf_counter()
    columns = study.evaluate(cell, study.load(cell, Bank(store.root), place))
    made = schema.Provenance(
        commit=provenance.commit(),
        versions=provenance.versions(),
        hardware=provenance.hardware(place.device),
        host=provenance.host(),
        wall_s=time.perf_counter() - start,
        finished_at=_now(),
    )
    return schema.rows_table(
        study.schema(),
        study=study.name,
        version=study.version,
        cell=cell,
        columns=columns,
        made=made,
    )


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


@dataclass
class Engine:
    """Where sweeps run and what each task gets. Ray starts with the first cell that must run."""

    store: Store
    cpus: float = 1.0  # per task
    gpus: float | None = None  # per task; None: 1 where the cluster has GPUs, else 0
    stored_only: bool = False  # run nothing: a cell that is not stored is an error
    ready_at: float | None = None  # time.monotonic() when ray.init returned
    first_cell_at: dict[str, float] = field(default_factory=dict)  # study -> time.monotonic()

    def start(self) -> None:
        """Connect to the cluster that RAY_ADDRESS or this machine names, else start a local one."""
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # a busy neighbour costs less
        if not on_terminal():
            os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # no colours in a log
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default
        logging.getLogger(_NOISY_LOGGER).addFilter(
            lambda record: not record.getMessage().startswith("Token authentication is enabled")
        )
        begin, on_term = time.monotonic(), signal.getsignal(signal.SIGTERM)
        address = os.environ.get("RAY_ADDRESS")
        if address:
            say(f"connecting to the cluster at RAY_ADDRESS={address}")
        try:
            ray.init(logging_level=logging.WARNING, log_to_driver=True, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(
                f"cannot reach or start Ray (RAY_ADDRESS={address}): {error}\n"
                "Hint: unset RAY_ADDRESS to run on this machine, or start the cluster it names."
            ) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray put its own in place
        self.ready_at = time.monotonic()
        have = ray.cluster_resources()
        if self.gpus is None:
            self.gpus = 1.0 if have.get("GPU", 0) >= 1 else 0.0
        say(
            f"Ray ready in {duration(self.ready_at - begin)}: {have.get('CPU', 0):g} CPUs, "
            f"{have.get('GPU', 0):g} GPUs; {self.cpus:g} CPU and {self.gpus:g} GPU a task",
        )
        if not any(cpus >= self.cpus and gpus >= self.gpus for cpus, gpus in _nodes()):
            say(
                f"warning: no node has the {self.cpus:g} CPUs and {self.gpus:g} GPUs of a task: it "
                "waits until one joins. Hint: --cpus, --gpus."
            )

    def stop(self) -> None:
        """Leave the cluster; end it where this run started it."""
        if ray.is_initialized():
            ray.shutdown()

    def whole_node_cpus(self) -> float:
        """The CPUs of the largest node that has the GPUs of a task, for a cell that runs alone."""
        self.start()
        return max(self.cpus, *(cpus for cpus, gpus in _nodes() if gpus >= (self.gpus or 0)), 1.0)

    def sweep(
        self,
        study: Study,
        plan: Plan,
        name: str,
        *,
        label: str,
        state: dict[str, Any] | None = None,
        whole_node: bool = False,
    ) -> Outcome:
        """Run the plan's missing cells under the sweep called `name`.

        `state` is what a reader of the store should know of the sweep; None keeps it unlisted.
        `whole_node` gives each cell all CPUs of a node. A failing cell is counted and named and
        does not stop the others.
        """
        found, n_stored = Found(), 0
        for cell_id, rows in self.store.cells(study.name, name, study.schema(), found):
            n_stored += plan.tell(cell_id, rows)
        for aside in found.set_aside:
            say(
                f"warning: {aside.name} cannot be used ({aside.reason}); moved to "
                f"{aside.moved_to}, its cell is computed again",
            )
        run = _Run(self, study, plan, Outcome(study.name, name, n_stored=n_stored), state)
        return run.go(label, whole_node=whole_node)


@dataclass
class _Run:
    """One sweep while it runs."""

    engine: Engine
    study: Study
    plan: Plan
    outcome: Outcome
    state: dict[str, Any] | None
    in_flight: dict[Any, tuple[str, Any]] = field(default_factory=dict)
    state_at: float = 0.0
    started_at: str = field(default_factory=_now)

    def go(self, label: str, *, whole_node: bool) -> Outcome:
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
                self._loop(cell)
            ended = "failed" if self.outcome.failed else "complete"
        finally:
            self.progress.close()
            for ref in self.in_flight:
                ray.cancel(ref, force=True)
            if self.outcome.n_run or self.outcome.failed:  # else an earlier run's words stay
                self._write_state(ended)
        self._summarise(label)
        return self.outcome

    def _prepare_tasks(self, *, whole_node: bool) -> None:
        engine = self.engine
        engine.start()
        cpus = engine.whole_node_cpus() if whole_node else engine.cpus
        gpus = engine.gpus or 0.0
        self.task = _run_cell.options(num_cpus=cpus, num_gpus=gpus)
        self.arguments = (max(1, int(cpus)), "cuda" if gpus else "cpu")
        self.slot = {"CPU": cpus, "GPU": gpus}
        self.study_ref = ray.put(self.study)

    def _room(self) -> int:
        have = ray.cluster_resources()
        slots = min(have.get(name, 0) // need for name, need in self.slot.items() if need)
        return max(1, int(slots)) * _CELLS_PER_SLOT - len(self.in_flight)

    def _loop(self, cell: Any) -> None:
        while cell is not None or self.in_flight:
            room = self._room()
            while cell is not None and room > 0:
                room -= self._submit(cell)
                cell = self.plan.ask()
            if self.in_flight:
                ready, _ = ray.wait(list(self.in_flight), timeout=1.0)
                for ref in ready:
                    self._collect(ref)
            if cell is None:
                cell = self.plan.ask()
            if time.monotonic() - self.state_at > _STATE_EVERY_S:
                self._write_state("running")

    def _submit(self, cell: Any) -> int:
        self.engine.first_cell_at.setdefault(self.study.name, time.monotonic())
        ref = self.task.remote(self.study_ref, cell, self.engine.store, *self.arguments)
        self.in_flight[ref] = (self.study.cell_id(cell), cell)
        return 1

    def _collect(self, ref: Any) -> None:
        cell_id, cell = self.in_flight.pop(ref)
        try:
            rows = ray.get(ref)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            self.outcome.failed[cell_id] = _reason(cause)
            self.progress.say(f"FAILED {self.study.name} {cell_id}: {_reason(cause)}\n  {cell}")
            self.plan.tell(cell_id, None)
        else:
            self._store(rows)
            self.plan.tell(cell_id, rows)
        self.progress.cell(failed=cell_id in self.outcome.failed, best=self.plan.best())

    def _store(self, rows: Any) -> None:
        try:
            self.engine.store.write(self.study.name, self.outcome.sweep, rows)
        except OSError as error:
            stored = self.outcome.n_stored + self.outcome.n_run
            raise InputError(
                f"cannot write to the store {self.engine.store.root.uri}: {error}. "
                f"{stored} cells of this sweep are stored and kept.\n"
                "Hint: make room or mend the permission, then run the same command again."
            ) from error
        self.outcome.n_run += 1

    def _write_state(self, now: str) -> None:
        self.state_at = time.monotonic()
        if self.state is None:
            return
        outcome = self.outcome
        measured = {
            "study": outcome.study, "sweep": outcome.sweep, "version": self.study.version,
            "state": now, "n_cells": self.plan.n_cells,
            "n_done": outcome.n_stored + outcome.n_run, "n_run": outcome.n_run,
            "failed": outcome.failed, "best": self.plan.best(), "wall_s": self.progress.wall_s,
            "started_at": self.started_at, "updated_at": _now(), "host": provenance.host(),
            "commit": provenance.commit(), "versions": provenance.versions(),
        }  # fmt: skip
        try:
            self.engine.store.write_state(outcome.study, outcome.sweep, measured | self.state)
        except OSError as error:
            self.progress.say(f"warning: the sweep's state could not be written: {error}")

    def _summarise(self, label: str) -> None:
        outcome = self.outcome
        say(
            f"{label}: {outcome.n_run} cells run in {duration(self.progress.wall_s)}, "
            f"{outcome.n_stored} were stored before, {len(outcome.failed)} failed",
        )


def _nodes() -> list[tuple[float, float]]:
    """CPUs and GPUs of each living node."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(float(r.get("CPU", 0)), float(r.get("GPU", 0))) for r in alive]


def _reason(error: BaseException) -> str:
    text = str(error).strip() or repr(error)
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"
