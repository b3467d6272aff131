"""The same sweep in this process, without Ray: for a debugger, a notebook, a test."""

import os
from dataclasses import dataclass
from typing import Any

import torch

from results.store import Store
from search.cluster import provenance
from search.engine.sweep import Sweep, Sweeper
from search.engine.task import Failed, Task, run_cell


@dataclass
class Here(Sweeper):
    """Each cell evaluated, stored and told, one after the other."""

    store: Store
    cpus: float = 1.0  # of a cell that does not have the whole machine
    stored_only: bool = False  # run nothing: a cell that is not stored is an error

    def slots(self) -> int:
        """One."""
        return 1

    def stop(self) -> None:
        """Nothing was started."""

    def _run(self, sweep: Sweep, cell: Any | None, *, whole_node: bool) -> None:
        """With as many threads as a Ray task has: training's bytes depend on them."""
        before, n_threads = torch.get_num_threads(), max(1, int(self.cpus))
        if whole_node:
            n_threads = len(os.sched_getaffinity(0))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        commit, versions = provenance.commit(), provenance.versions()
        task = Task(sweep.study, sweep.store, n_threads, device, commit, versions)
        sweep.note_start()
        torch.set_num_threads(n_threads)
        try:
            while cell is not None:
                _one(sweep, task, cell)
                cell = sweep.plan.ask()
        finally:
            torch.set_num_threads(before)


def _one(sweep: Sweep, task: Task, cell: Any) -> None:
    result = run_cell(task, cell)
    if isinstance(result, Failed):
        sweep.failed(cell, result.reason)
        return
    cell_id = sweep.study.cell_id(cell)
    try:
        sweep.write(cell_id, result.data)
    except OSError as error:
        raise sweep.unwritable(error) from error
    sweep.stored(cell_id, result.digest)
    if sweep.record is not None and sweep.record.due():
        sweep.note("running")
