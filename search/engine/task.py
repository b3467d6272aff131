"""One cell, wherever it runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch

from core.errors import InputError
from results import schema
from results.store import Store, encoded
from search.cluster import provenance
from search.cluster.examine import difference
from search.engine.bank import Bank
from search.engine.record import now
from search.engine.study import Place, Study


@dataclass(frozen=True)
class Task:
    """What every cell of a sweep is run with."""

    study: Study
    store: Store
    n_threads: int
    device: str
    commit: str
    versions: str  # of the driver


@dataclass(frozen=True)
class Done:
    """A cell's file, ready to be stored, and the digest of its rows."""

    data: bytes
    digest: Any


@dataclass(frozen=True)
class Failed:
    """Why a cell has no rows."""

    reason: str


@ray.remote(max_retries=5, retry_exceptions=False)  # lost nodes are retried, bugs not
def run_cells(task: Task, cells: Sequence[Any]) -> list[Done | Failed]:
    """All that Ray adds to `evaluate`: somewhere to run, and a clock. One result for each cell.

    A cell that fails does not touch its neighbours; one that takes the process with it takes them.
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
    return [_run(task, cell) for cell in cells]


def _run(task: Task, cell: Any) -> Done | Failed:
    place = Place(task.device, task.n_threads)
    try:
        rows = evaluate_cell(task.study, cell, task.store, place, commit=task.commit)
        return Done(encoded(rows), task.study.digest(rows))
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver names cell and reason
        return Failed(reason_of(error))


def reason_of(error: BaseException) -> str:
    """An error in words: what a user can mend as it is, all else with its kind."""
    text = str(error).strip() or repr(error)
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def evaluate_cell(
    study: Study, cell: Any, store: Store, place: Place, *, commit: str | None = None
) -> Any:
    """One cell, here and now: its typed rows as an Arrow table."""
    start = time.perf_counter()
    columns = study.evaluate(cell, study.load(cell, Bank(store.root), place))
    made = schema.Provenance(
        commit=commit or provenance.commit(),
        versions=provenance.versions(),
        hardware=provenance.hardware(place.device),
        host=provenance.host(),
        wall_s=time.perf_counter() - start,
        finished_at=now(),
    )
    return schema.rows_table(
        study.schema(),
        study=study.name,
        version=study.version,
        cell=cell,
        columns=columns,
        made=made,
    )
