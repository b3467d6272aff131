"""What is stored keeps its name: sweeps, cells and columns of every job, as they were stored first.

Nothing is trained and nothing runs: `make` and `Here.sweep` are stood in for, so that no
machine's arithmetic counts. GOLDEN=write writes the file anew; a name that changes there is a
sweep that nobody finds again.
"""

import hashlib
import importlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from stored import SMOKE_THEN

from results.files import Root
from results.store import Store
from search import lab
from search.engine.bank import Bank
from search.engine.here import Here
from search.flags import parse
from search.inputs import chains, networks, pictures

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
        walls = [1.0] * len(names)
        return pa.table({"member": names, "piece": pieces, "epoch_wall_s": walls})
    n = getattr(cell, "count", 1)
    whole = list(range(n))
    columns = {"image": whole, "label": [0] * n, "undefended": [0] * n}
    columns |= {"piece": [piece_of(cell_id)] * n, "epoch_wall_s": [1.0] * n}
    return pa.table(columns)


def asked(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every sweep that the job asks for at its smoke flags, to its own first one."""
    seen: dict[str, Any] = {}

    def note(study, sweep, ids) -> None:
        columns = [f"{field.name} {field.type}" for field in study.schema()]
        kind = seen.setdefault(study.name, {"version": study.version, "columns": columns,
                                            "sweeps": {}})  # fmt: skip
        kind["sweeps"][sweep] = sorted({*kind["sweeps"].get(sweep, ()), *ids})

    def make(_, study, cells, sweep, **__):
        ids = [study.cell_id(cell) for cell in cells]
        note(study, sweep, ids)
        return [made(*pair) for pair in zip(ids, cells, strict=True)]

    def sweep(_, study, plan, name, **__):
        note(study, name, plan.cell_ids or ())
        raise Asked("own sweep")

    for module in (networks, pictures, chains, lab):
        monkeypatch.setattr(module, "make", make)
    monkeypatch.setattr(Here, "sweep", sweep)
    monkeypatch.setattr(Bank, "get", lambda *_: (Blank(), {}))
    job = importlib.import_module(f"jobs.{name}").JOB
    argv = ["--smoke", *SMOKE_THEN.get(name, [])]
    flags = parse(job.asked, name=name, question="", argv=argv, smoke=job.smoke)
    with pytest.raises(Asked, match="own sweep"):
        job.answer(lab.Lab(Here(Store(Root(folder))), flags), flags)
    return seen


@pytest.mark.parametrize("name", [job for job in JOBS if job != "ensemble_tune"])
def test_names_are_those_stored_first(name, tmp_path, monkeypatch):
    found = asked(name, tmp_path, monkeypatch)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(json.dumps(golden | {name: found}, indent=1, sort_keys=True) + "\n")
    assert found == golden.get(name)
