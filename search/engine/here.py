"""The same sweep in this process, without Ray: for a debugger, a notebook, a test."""

import os
from dataclasses import dataclass
from typing import Any

import torch

from results.store import Store
from search.cluster import provenance
from search.engine.plan import Plan
from search.engine.study import Outcome, Study
from search.engine.sweep import Sweep
from search.engine.task import Failed, Task, run_cell


@dataclass
class Here:
    """Each cell evaluated, stored and told, one after the other."""

    store: Store
    cpus: float = 1.0  # of a cell that does not have the whole machine
    stored_only: bool = False  # run nothing: a cell that is not stored is an error

    def slots(self) -> int:
        """One."""
        return 1

    def stop(self) -> None:
        """Nothing was started."""

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
        """As `Sweeper.sweep`, with as many threads as a Ray task has: training depends on them."""
        before, n_threads = torch.get_num_threads(), max(1, int(self.cpus))
        if whole_node:
            n_threads = len(os.sched_getaffinity(0))
        outcome = Outcome(study.name, name)
        run = _Run(self.store, self.stored_only, study, plan, outcome, state, recorded, label)
        torch.set_num_threads(n_threads)
        try:
            return run.go()
        finally:
            torch.set_num_threads(before)


class _Run(Sweep):
    def run(self, cell: Any) -> None:
        self.note_start()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        task = Task(
            self.study,
            self.store,
            torch.get_num_threads(),
            device,
            provenance.commit(),
            provenance.versions(),
        )
        for each in self.asked(cell):
            result = run_cell(task, each)
            if isinstance(result, Failed):
                self.failed(each, result.reason)
                continue
            cell_id = self.study.cell_id(each)
            try:
                self.write(cell_id, result.data)
            except OSError as error:
                raise self.unwritable(error) from error
            self.stored(cell_id, result.digest)
            if self.record is not None and self.record.due():
                self.note("running")
