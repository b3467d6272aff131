"""The engine: sweeps whose cells are Ray tasks, on this machine or a cluster."""

import time
from dataclasses import dataclass, field
from typing import Any

from core.errors import InputError
from results.store import Store
from search.engine.sweep import Sweep, Sweeper
from search.later import later
from search.progress import duration, say

with later():  # what is stored is found without Ray
    from search.cluster import connection, nodes
    from search.cluster.examine import Request, check
    from search.engine.compared import compare
    from search.engine.run import Run


@dataclass
class Engine(Sweeper):
    """Where sweeps run and what each task gets. Ray starts with the first cell that must run."""

    store: Store
    cpus: float | None = None  # per task; None: 1, and of GPU tasks a node's CPUs by its GPUs
    gpus: float | None = None  # per task; None: 1 where the cluster has GPUs, else 0
    stored_only: bool = False  # run nothing: a cell that is not stored is an error
    paths: tuple[str, ...] = ()  # that every node must have
    asleep: bool = False  # Ray was started here, and no worker has imported anything yet
    ready_at: float | None = None  # time.monotonic() when Ray was ready
    first_cell_at: dict[str, float] = field(default_factory=dict)  # study -> time.monotonic()

    @property
    def size(self) -> tuple[float, float]:
        """CPUs and GPUs of a task."""
        return self.cpus or 1.0, self.gpus or 0.0

    def start(self) -> None:
        """Join the cluster of RAY_ADDRESS or this machine, else start one; InputError if unfit."""
        if connection.connected():
            return
        begin = time.monotonic()
        joined = connection.connect(cpus=self.cpus or 1.0, gpus=self.gpus or 0.0)
        self.ready_at, self.asleep = time.monotonic(), not joined
        if self.gpus is None:
            self.gpus = nodes.default_gpus()
        if self.cpus is None:
            self.cpus = nodes.default_cpus(self.gpus)
        have = nodes.nodes()
        n_cpus, n_gpus = (sum(numbers) for numbers in zip(*have, strict=True))
        say(
            f"Ray ready in {duration(self.ready_at - begin)}: {len(have)} nodes, {n_cpus:g} CPUs, "
            f"{n_gpus:g} GPUs; {self.cpus:g} CPU and {self.gpus:g} GPU a task"
        )
        self._warn(have, joined=joined)
        if joined:
            self._examine_nodes()

    def _warn(self, have: list[tuple[float, float]], *, joined: bool) -> None:
        cpus, gpus = self.size
        if any(c >= cpus and g >= gpus for c, g in have):
            return
        if any(c >= cpus and g >= gpus for c, g, _ in nodes.launchable()):
            say("no node has room for a task yet: the cluster starts one (minutes on a cloud)")
            return
        lack = f"no node has the {cpus:g} CPUs and {gpus:g} GPUs of a task"
        if not joined:
            raise InputError(f"{lack}.\nHint: smaller --cpus, --gpus; --gpus 0 computes on CPUs.")
        say(f"warning: {lack}, and none is known to come: waiting. Hint: --cpus, --gpus.")

    def _examine_nodes(self) -> None:
        """InputError where a node lacks data, packages, or sight of the store."""
        self.store.check_writable()
        with self.store.beacon() as token:
            request = Request(self.paths, self.store.root, token, gpus=bool(self.gpus))
            reports, silent = nodes.survey(request)
        for node in silent:
            say(f"warning: node {node} did not answer and was not checked")
        check(reports, request)

    def stop(self) -> None:
        """Leave the cluster, and end it where it was started here; one found connected stays."""
        if self.ready_at is not None:
            connection.disconnect()
            self.ready_at = None

    def whole_node_cpus(self) -> float:
        """The CPUs of the largest node that has the GPUs of a task, for a cell that runs alone."""
        self.start()
        own, wanted = self.size
        kinds = nodes.nodes() + [(cpus, gpus) for cpus, gpus, _ in nodes.launchable()]
        return max(own, *(cpus for cpus, gpus in kinds if gpus >= wanted), 1.0)

    def slots(self) -> int:
        """How many tasks the cluster runs at a time, at least 1."""
        self.start()
        return nodes.slots(*self.size)

    def _run(self, sweep: Sweep, cell: Any, *, whole_node: bool) -> None:
        self.start()
        cpus, gpus = self.size
        cpus = self.whole_node_cpus() if whole_node else cpus
        name, at = sweep.study.name, self.first_cell_at
        run = Run(sweep, cpus, gpus, lambda: at.setdefault(name, time.monotonic()))
        if self.asleep:
            self.asleep = False
            run.wake(self.slots(), *self.size)
        run.go(cell)
        if self.gpus and sweep.state is not None:
            compare(sweep, cell)
