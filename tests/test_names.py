"""What is stored keeps its name: sweeps, cells and columns of every job, as they were stored first.

Nothing is trained and nothing runs: `make` and `Engine.sweep` are stood in for, so that no
machine's arithmetic counts. GOLDEN=write writes the file anew; a name that changes there is a
sweep that nobody finds again.
"""

import hashlib
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from results.files import Root
from results.store import Store
from search import cli, prepare
from search.engine.bank import Bank
from search.engine.sweep import Engine

GOLDEN = Path(__file__).parent / "golden" / "names.json"
JOBS = sorted(p.stem for p in (Path(__file__).parent.parent / "jobs").glob("[!_]*.py"))


class Asked(Exception):  # noqa: N818 - the job asked for its own sweep: all that is wanted of it
    """The study's own sweep was asked for."""


class Blank(dict):
    """A piece of the bank, whatever is wanted of it."""

    def __missing__(self, key: str) -> torch.Tensor:
        return torch.full((20, 10), 0.1)


def piece_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def made(cell_id: str, cell: Any) -> pa.Table:
    """Rows that a bank cell might have: its piece by the cell's name, all images right."""
    qualities = getattr(cell, "qualities", None)
    if qualities:
        names = [f"M{q}" for q in qualities]
        pieces = [piece_of(f"{cell_id} {name}") for name in names]
        return pa.table({"member": names, "piece": pieces})
    n = getattr(cell, "count", 1)
    whole = list(range(n))
    columns = {"image": whole, "label": [0] * n, "undefended": [0] * n}
    return pa.table(columns | {"piece": [piece_of(cell_id)] * n})


def asked(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every sweep that the job asks for at its smoke flags, to its own first one."""
    seen: list[dict[str, Any]] = []

    def note(study, sweep, ids) -> None:
        columns = [f"{field.name} {field.type}" for field in study.schema()]
        seen.append({"study": study.name, "version": study.version, "sweep": sweep,
                     "cells": sorted(ids), "columns": columns})  # fmt: skip

    def make(_, study, cells, sweep, **__):
        ids = [study.cell_id(cell) for cell in cells]
        note(study, sweep, ids)
        return [made(*pair) for pair in zip(ids, cells, strict=True)]

    def sweep(_, study, plan, name, **__):
        note(study, name, plan.cell_ids or ())
        raise Asked("own sweep")

    stand_in(monkeypatch, make, sweep)
    with pytest.raises((Asked, ValueError), match=r"own sweep|no rows of"):
        run(name, Store(Root(folder)))
    return seen


def stand_in(monkeypatch: pytest.MonkeyPatch, make: Callable, sweep: Callable) -> None:
    monkeypatch.setattr(prepare, "make", make)
    monkeypatch.setattr(Engine, "sweep", sweep)
    monkeypatch.setattr(Engine, "slots", lambda _: 1)
    monkeypatch.setattr(Bank, "get", lambda *_: (Blank(), {}))


def run(name: str, store: Store) -> None:
    job = importlib.import_module(f"jobs.{name}").JOB
    parser = cli.parser_of(job)
    parser.set_defaults(**job.smoke)
    job.run(Engine(store), parser.parse_args([]))


@pytest.mark.parametrize("name", [job for job in JOBS if job != "ensemble_tune"])
def test_names_are_those_stored_first(name, tmp_path, monkeypatch):
    found = asked(name, tmp_path, monkeypatch)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(golden | {name: found}, indent=1, sort_keys=True) + "\n")
    assert found == golden.get(name)
