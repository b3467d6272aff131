"""A sample of what GPUs measured, measured again on the driver's CPU."""

from dataclasses import fields
from typing import Any

from results.store import Found
from search.engine.sweep import Sweep
from search.engine.task import evaluate_cell


def compare(sweep: Sweep, cell: Any) -> None:
    """Record how many of a sample's rows the CPU makes otherwise; of a study that has a sample.

    Sums of floats are rounded otherwise on a GPU, so what lies between two answers may change
    sides; more than a few rows in a thousand are a fault.
    """
    study, cell_id = sweep.study, sweep.study.cell_id(cell)
    if study.sample is None or cell_id in sweep.outcome.failed:
        return
    here = evaluate_cell(study, study.sample(cell), sweep.store)
    how: dict[str, Any] = {"version": study.version, "only": {cell_id}}
    stored = sweep.store.cells(study.name, sweep.outcome.sweep, study.schema(), Found(), **how)
    (_, there), *_ = stored
    names, n_rows = [field.name for field in fields(study.row)], here.num_rows
    ours, theirs = (rows.select(names).slice(0, n_rows).to_pylist() for rows in (here, there))
    n_differ = sum(one != other for one, other in zip(ours, theirs, strict=True))
    sweep.compared = {"cpu_compared": n_rows, "cpu_differs": n_differ}
    sweep.say(f"{n_differ} of {n_rows} sampled rows are others on this CPU")
