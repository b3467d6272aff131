"""One cell, wherever it runs: loaded, evaluated, timed, typed."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from core.errors import InputError
from results import schema
from results.rowfile import encoded
from results.store import Store
from search.cluster import provenance
from search.engine.bank import Bank
from search.engine.record import now
from search.engine.study import Made, Place, Study
from search.progress import say


@dataclass(frozen=True)
class Task:
    """What every cell of a sweep is run with."""

    study: Study[Any, Any]
    store: Store
    n_threads: int
    device: str
    gpu_share: float = 1.0  # of a GPU's memory, where several tasks share it
    commit: str = field(default_factory=provenance.commit)  # of the driver
    versions: str = field(default_factory=provenance.versions)


@dataclass(frozen=True)
class Done:
    """A cell's file, ready to be stored, and the digest of its rows."""

    data: bytes
    digest: Any
    n_rows: int


@dataclass(frozen=True)
class Failed:
    """Why a cell has no rows."""

    reason: str


def run_cell(task: Task, cell: Any) -> Done | Failed:
    """A cell's rows, or why there are none."""
    where: dict[str, Any] = {"device": task.device, "n_threads": task.n_threads}
    settle_arithmetic()
    try:
        rows = evaluate_cell(task.study, cell, task.store, commit=task.commit, **where)
        return Done(encoded(rows), task.study.digest(rows), rows.num_rows)
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver names cell and reason
        return Failed(reason_of(error))


def run_together(task: Task, cells: Sequence[Any]) -> list[Done | Failed]:
    """One result for each cell; the process ends instead where its GPU is out of order."""
    results = [run_cell(task, cell) for cell in cells]
    if any(isinstance(result, Failed) for result in results) and broken(task.device):
        os._exit(1)  # a lost process: its cells are tried again, elsewhere or in a new one
    return results


def settle_arithmetic() -> None:
    """Full float32 and deterministic kernels, whatever this process has run before."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def broken(device: str) -> bool:
    """Whether a GPU answers nothing more: after an illegal access or an ECC error all calls fail.

    Such a process would take cell after cell and fail each in milliseconds.
    """
    if device != "cuda":
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        say(f"this process's GPU is out of order, the process ends: {error}")
        return True
    return False


def reason_of(error: BaseException) -> str:
    """An error in words: what a user can mend as it is, all else with its kind."""
    text = str(error).strip() or repr(error)
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def evaluate_cell(
    study: Study[Any, Any],
    cell: Any,
    store: Store,
    *,
    device: str = "cpu",
    n_threads: int = 1,
    say: Callable[[str], None] = say,
    commit: str | None = None,
) -> schema.Table:
    """One cell, here and now: its typed rows as an Arrow table."""
    start = time.perf_counter()
    bank = Bank(store.root)
    place = Place(device, n_threads, bank, partial(study.cell_id, cell), say)
    columns = study.evaluate(cell, study.load(cell, place))
    if isinstance(columns, Made):
        columns = _put(columns, bank)
    made = schema.Provenance(
        commit=commit or provenance.commit(),
        versions=provenance.versions(),
        hardware=provenance.hardware(device),
        host=provenance.host(),
        wall_s=time.perf_counter() - start,
        finished_at=now(),
    )
    named: dict[str, Any] = {"study": study.name, "version": study.version, "cell": cell}
    rows = schema.rows_table(study.schema(), columns=columns, made=made, **named)
    if study.n_rows(cell) not in (None, len(rows)):
        raise ValueError(f"expected {study.n_rows(cell)} rows, evaluate gave {len(rows)}")
    return rows


def _put(made: Made, bank: Bank) -> schema.Columns:
    piece, n_bytes = bank.put(dict(made.tensors), made.metadata)
    if made.unfinished is not None:
        made.unfinished.remove()
    n_rows = len(next(iter(made.columns.values())))
    return {**made.columns, "piece": [piece] * n_rows, "piece_bytes": [n_bytes] * n_rows}
