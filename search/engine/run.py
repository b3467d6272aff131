"""One sweep as Ray tasks: cells out, files in, and what there is to say meanwhile."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ray
import torch

from core.errors import InputError
from search.cluster import nodes, provenance
from search.cluster.examine import difference
from search.engine import ahead
from search.engine.sweep import Sweep
from search.engine.task import Done, Failed, Task, reason_of, run_together

_CELLS_PER_SLOT = 2  # in flight, so that no slot waits for the driver
_AHEAD_S = 0.5  # of short cells so many seconds' worth are in flight
_MOST_PER_SLOT = 256
_TASK_S = 0.1  # short cells go out together, for a task costs the driver a millisecond
_MOST_PER_TASK = 32
_LOOK_EVERY_S = 2.0  # at the cluster's resources
_WRITERS = 16  # an object store answers a write in tens of milliseconds


@ray.remote(max_retries=5, retry_exceptions=False)  # lost nodes are retried, bugs not
def run_cells(task: Task, cells: Sequence[Any], coming: Sequence[str] = ()) -> list[Done | Failed]:
    """All that Ray adds to `evaluate`: somewhere to run. One result for each cell.

    A cell that fails does not touch its neighbours; one that takes the process with it takes them.
    `coming`: the pieces of what will run here next, which are fetched meanwhile.
    """
    torch.set_num_threads(task.n_threads)
    if provenance.versions() != task.versions:
        raise InputError(
            f"{provenance.host()} has {difference(provenance.versions(), task.versions)}.\n"
            "Hint: install the same requirements.lock on every node."
        )
    if task.device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"a GPU was asked for, but torch finds none on {provenance.host()}.\n"
            "Hint: --gpus 0 computes on CPUs; or install the CUDA build and driver there."
        )
    if task.device == "cuda" and task.gpu_share < 1:
        torch.cuda.set_per_process_memory_fraction(task.gpu_share)
    ahead.fetch(task.store.root, coming)
    return run_together(task, cells)


@dataclass
class Run:
    """One sweep while it runs on a cluster."""

    sweep: Sweep
    cpus: float  # of a task
    gpus: float
    started: Callable[[], object]  # is told of cells that go out
    in_flight: dict[Any, list[tuple[str, Any]]] = field(default_factory=dict)
    n_in_flight: int = 0  # cells
    writing: dict["Future[None]", tuple[str, Any]] = field(default_factory=dict)  # id and digest
    coming: deque[Any] = field(default_factory=deque)  # cells asked for, not yet out
    looked_at: float = -1e9
    n_slots: int = 1

    @cached_property
    def task(self) -> Any:
        """What every cell is run with, put where all workers find it."""
        sweep, n_threads = self.sweep, max(1, int(self.cpus))
        device = "cuda" if self.gpus else "cpu"
        return ray.put(Task(sweep.study, sweep.store, n_threads, device, self.gpus))

    def wake(self, n: int, cpus: float, gpus: float) -> None:
        """Send out n tasks of no cells, so that as many workers import torch at the same time."""
        for _ in range(n):
            run_cells.options(num_cpus=cpus, num_gpus=gpus, max_retries=0).remote(self.task, [])

    def go(self, cell: Any) -> None:
        """Have this cell and all after it evaluated; cancel what is in flight where that ends."""
        sweep, size = self.sweep, {"num_cpus": self.cpus, "num_gpus": self.gpus}
        self.remote = run_cells.options(**size)
        # Cells that lose their process together go out again alone: Ray need not try them before.
        self.remote_together = run_cells.options(**size, max_retries=0)
        sweep.n_nodes = 0
        sweep.note_start()
        try:
            with ThreadPoolExecutor(_WRITERS, "store") as self.writers:
                self._loop(cell)
        finally:
            for ref in self.in_flight:
                ray.cancel(ref, force=True)

    def _look(self) -> None:
        """At the cluster, now and then."""
        if time.monotonic() - self.looked_at < _LOOK_EVERY_S:
            return
        self.looked_at = time.monotonic()
        self.n_slots = nodes.slots(self.cpus, self.gpus)
        n_before, n_nodes = self.sweep.n_nodes, len(nodes.nodes())
        if n_nodes != n_before:
            self.sweep.say(f"nodes: {n_before} -> {n_nodes}", shown=n_before > 0)
            self.sweep.n_nodes = n_nodes

    def _room(self) -> int:
        """How many more cells may be in flight: few, but enough that no slot waits."""
        wanted = self.n_slots
        if self.sweep.plan.eager:
            ahead = int(self.sweep.progress.pace_per_s * _AHEAD_S)
            wanted = min(max(wanted * _CELLS_PER_SLOT, ahead), wanted * _MOST_PER_SLOT)
        return wanted - self.n_in_flight - max(0, len(self.writing) - _WRITERS)

    def _per_task(self) -> int:
        """How many cells go out together: more than one only where they are short."""
        if not self.sweep.plan.eager:
            return 1
        per_slot = self.sweep.progress.pace_per_s / self.n_slots
        return max(1, min(int(per_slot * _TASK_S), _MOST_PER_TASK))

    def _loop(self, cell: Any) -> None:
        self.coming.append(cell)
        while self.coming or self.in_flight or self.writing:
            self._look()
            room, together = self._room(), self._per_task()
            while self.coming and room > 0:
                cells = [self.coming.popleft() for _ in range(min(together, len(self.coming)))]
                self._ask(together)
                self._submit(cells)
                room -= len(cells)
            self._collect()
            self._ask(together)
            self.sweep.note_when_due()

    def _ask(self, together: int) -> None:
        """Have the next task's cells at hand, and where cells may queue the next of each slot."""
        wanted = together * self.n_slots if self.sweep.plan.eager else 1
        while len(self.coming) < wanted and (cell := self.sweep.plan.ask()) is not None:
            self.coming.append(cell)

    def _submit(self, cells: list[Any]) -> None:
        self.started()
        remote = self.remote_together if len(cells) > 1 else self.remote
        # Slots take turns, so the last cell at hand is about what will run next where these run.
        coming = ahead.pieces_of(self.coming[-1]) if self.coming else []
        ref = remote.remote(self.task, cells, coming)
        self.in_flight[ref] = [(self.sweep.study.cell_id(cell), cell) for cell in cells]
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
        for future in [future for future in self.writing if future.done()]:
            stored = self.writing.pop(future)
            future.result()
            self.sweep.stored(*stored)

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
                self.sweep.failed(cell, result.reason)
            else:
                future = self.writers.submit(self.sweep.write, cell_id, result)
                self.writing[future] = (cell_id, result.digest)
