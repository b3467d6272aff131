"""The same sweep in this process, without Ray: for a debugger, a notebook, a test."""

import os
from dataclasses import dataclass
from typing import Any

import torch

from results.store import Store
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
        before = torch.get_num_threads()
        n_threads = len(os.sched_getaffinity(0)) if whole_node else max(1, int(self.cpus))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        task = Task(sweep.study, sweep.store, n_threads, device)
        sweep.note_start()
        torch.set_num_threads(n_threads)
        try:
            while cell is not None:
                result = run_cell(task, cell)
                if isinstance(result, Failed):
                    sweep.failed(cell, result.reason)
                else:
                    cell_id = sweep.study.cell_id(cell)
                    sweep.write(cell_id, result)
                    sweep.stored(cell_id, result.digest)
                sweep.note_when_due()
                cell = sweep.plan.ask()
        finally:
            torch.set_num_threads(before)
