"""What a GPU predicted, beside what the CPU predicts."""

from dataclasses import dataclass

import pytest
from studies import SQUARES
from studies import Cell as Number

from results.files import Root
from results.store import Store
from search.cluster import provenance
from search.engine.compared import compare
from search.engine.engine import Engine
from search.engine.plan import Grid
from search.engine.run import Run
from search.engine.study import Outcome, Study
from search.engine.sweep import Sweep
from search.engine.task import evaluate_cell
from search.inputs.loading import first_images


@dataclass(frozen=True, kw_only=True)
class Cell:
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    image: int
    table: str
    predicted: int


def evaluate(cell, device):
    """A GPU sees another class in image 2, behind one of two tables."""
    pairs = [(image, table) for image in range(cell.count) for table in "ab"]
    other = [device == "cuda" and pair == (2, "b") for pair in pairs]
    images, tables = zip(*pairs, strict=True)
    return {"image": images, "table": tables, "predicted": other}


STUDY = Study("seen", 1, Cell, Row, lambda _, place: place.device, evaluate, sample=first_images)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "hardware", lambda device: device)
    return Store(Root(tmp_path))


def on_gpu(self, cell):
    """In place of `Run.go`."""
    store = self.sweep.store
    store.write("seen", "w", evaluate_cell(STUDY, cell, store, device="cuda"))
    self.sweep.note_start()


def test_predictions_that_the_cpu_makes_otherwise_are_counted_and_kept(store, monkeypatch, capsys):
    monkeypatch.setattr(Run, "go", on_gpu)
    monkeypatch.setattr(Engine, "start", lambda _: None)
    engine, plan = Engine(store, gpus=1.0), Grid(STUDY.cell_id, [Cell(count=50)])
    engine.sweep(STUDY, plan, "w", label="seen", state={"command": "x"})
    assert "1 of 16 sampled rows are others on this CPU" in capsys.readouterr().err
    (state,) = store.states()
    assert (state["cpu_compared"], state["cpu_differs"]) == (16, 1)


def test_cells_that_predict_nothing_and_failed_ones_are_passed_over(store):
    other = Sweep(store, SQUARES, Grid(SQUARES.cell_id, []), Outcome("squares", "w"), {}, False)
    compare(other, Number(number=1))
    cell = Cell(count=3)
    failed = Outcome("seen", "w", failed={STUDY.cell_id(cell): "why"})
    seen = Sweep(store, STUDY, Grid(STUDY.cell_id, []), failed, {}, False)
    compare(seen, cell)
    assert other.compared == seen.compared == {}
