"""Sweeps in one process, without Ray: rows, failures, interruptions, files of the bank."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from studies import SQUARES, TWOS, Cell, evaluate

import results
from core.digests import digest
from core.errors import InputError
from results import schema
from results.files import Root
from results.rowfile import DamagedError
from results.store import Found, Store
from search.engine.bank import Bank
from search.engine.here import Here
from search.engine.plan import Grid
from search.engine.study import Made
from search.engine.task import evaluate_cell
from search.engine.unfinished import Unfinished
from search.inputs.making import make


@pytest.fixture
def store(tmp_path):
    return Store(Root(tmp_path / "store"))


def sweep(store, cells, study=SQUARES, **how):
    plan = Grid(study.cell_id, cells)
    return Here(store).sweep(study, plan, "w", label=study.name, **how)


def rows(store, study=SQUARES):
    cells = store.cells(study.name, "w", study.schema(), Found(), version=1)
    return {cell_id: table.drop_columns(list(schema.MEASURED)) for cell_id, table in cells}


def test_rows_equal_those_of_a_plain_loop(store):
    cells = [Cell(number=n) for n in range(5)]
    outcome = sweep(store, cells)
    assert (outcome.n_stored, outcome.n_run, outcome.failed) == (0, 5, {})
    plain = [evaluate_cell(SQUARES, cell, store) for cell in cells]
    assert rows(store) == {
        SQUARES.cell_id(cell): table.drop_columns(list(schema.MEASURED))
        for cell, table in zip(cells, plain, strict=True)
    }
    again = sweep(store, [*cells, Cell(number=9)])
    assert (again.n_stored, again.n_run) == (5, 1)


def test_a_failing_cell_is_named_counted_and_retried(store, tmp_path, capsys):
    cells = [
        Cell(number=0),
        Cell(number=1, fails="bug"),
        Cell(number=2, fails="input"),
        Cell(number=3, fails=f"once:{tmp_path / 'flag'}"),
        Cell(number=4),
    ]
    outcome = sweep(store, cells, state={"command": "x"})
    assert outcome.n_run == 2
    reasons = [outcome.failed[SQUARES.cell_id(cell)].split(":")[0] for cell in cells[1:4]]
    assert reasons == [
        "ZeroDivisionError",
        "expected an even number, found an odd one.\nHint",
        "RuntimeError",
    ]
    assert f"FAILED squares {SQUARES.cell_id(cells[1])}" in capsys.readouterr().err
    (state,) = store.states()
    assert (state["state"], state["n_done"], len(state["failed"])) == ("failed", 2, 3)
    assert state["command"] == "x"
    ((_, log),) = store.logs("squares", "w")
    assert "failed: squares: 2/5 cells" in log
    again = sweep(store, cells)
    assert (again.n_stored, again.n_run, len(again.failed)) == (2, 1, 2)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("kept", [[0, 1], [0, 1, 2, 2]])
def test_a_cell_with_too_few_or_too_many_rows_is_set_aside_and_made_again(store, kept, compact):
    cells, study = [Cell(number=n) for n in range(3)], replace(SQUARES, n_rows=lambda _: 3)
    sweep(store, cells, study)
    before = rows(store)
    wrong = evaluate_cell(study, cells[1], store).take(kept)
    store.write("squares", "w", wrong)
    assert not compact or store.compact("squares", "w") == 3
    outcome = sweep(store, cells, study)
    assert (outcome.n_stored, outcome.n_run) == ((0, 3) if compact else (2, 1))
    assert rows(store) == before
    assert len(store.root.sizes("aside/squares/w")) == 1
    (failed,) = sweep(store, [Cell(number=9)], replace(study, n_rows=lambda _: 4)).failed.values()
    assert failed == "ValueError: expected 4 rows, evaluate gave 3"


def test_an_interrupted_sweep_keeps_what_is_stored(store):
    def interrupted(cell, n_threads):
        if cell.number == 2:
            raise KeyboardInterrupt
        return evaluate(cell, n_threads)

    cells = [Cell(number=n) for n in range(4)]
    with pytest.raises(KeyboardInterrupt):
        sweep(store, cells, replace(SQUARES, evaluate=interrupted))
    assert [state["state"] for state in store.states()] == ["interrupted"]
    again = sweep(store, cells)
    assert (again.n_stored, again.n_run) == (2, 2)


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_done(store, monkeypatch):
    cells = [Cell(number=n) for n in range(3)]
    sweep(store, cells[:2])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_encoded", full)
        with pytest.raises(InputError, match=r"No space left .*\n?.*2 cells .* are stored"):
            sweep(store, cells)
        patch.setattr(Store, "check_writable", full)
        with pytest.raises(OSError, match="No space left"):
            sweep(store, cells)
    assert sweep(store, cells).n_stored == 2


def test_stored_only_runs_nothing(store):
    plan = Grid(SQUARES.cell_id, [Cell(number=1)])
    with pytest.raises(InputError, match="not all rows are in the store"):
        Here(store, stored_only=True).sweep(SQUARES, plan, "w", label="squares")
    assert not rows(store)


def evaluate_twos(cell, _):
    twos = {"twos": 2 * torch.ones(cell.number)}
    return Made({"position": [0, 1]}, twos, {"kind": "twos"})


def test_stored_rows_are_enough_where_nothing_is_to_be_run(store):
    """As where rows came home from a cluster and the networks stayed there."""
    study = replace(TWOS, evaluate=evaluate_twos)
    cells = [Cell(number=3), Cell(number=4)]
    made = make(Here(store), study, cells, "w", label="twos")
    pieces = [Path(path) for path in Path(store.root.uri, "bank").iterdir()]
    for piece in pieces:
        piece.unlink()
    assert make(Here(store, stored_only=True), study, cells, "w", label="twos") == made
    make(Here(store), study, cells, "w", label="twos")
    assert all(piece.exists() for piece in pieces)


def test_a_sweep_that_is_not_recorded_leaves_rows_and_nothing_else(store):
    sweep(store, [Cell(number=1), Cell(number=2, fails="bug")], recorded=False)
    assert len(rows(store)) == 1
    assert not store.states()
    assert not list(store.logs("squares", "w"))


def test_what_a_cell_made_is_in_the_bank_and_named_by_its_rows(store):
    cell = Cell(number=3)
    kept = Unfinished(Bank(store.root), TWOS.cell_id(cell), print)
    (reason,) = sweep(store, [cell], TWOS).failed.values()
    assert reason == "RuntimeError: killed"
    assert store.root.exists(kept.name)
    assert sweep(store, [cell], TWOS).failed == {}
    assert not store.root.exists(kept.name)
    (made,) = rows(store, TWOS).values()
    assert made.schema.names[-2:] == ["piece", "piece_bytes"]
    assert schema.column(made, "position").tolist() == [0, 1]
    (piece,), (n_bytes,) = (set(schema.column(made, n)) for n in ("piece", "piece_bytes"))
    bank = Bank(store.root)
    assert bank.has(piece, n_bytes)
    tensors, metadata = bank.get(piece)
    assert tensors["twos"].tolist() == [2.0] * 3
    assert metadata == {"kind": "twos"}


def test_what_is_kept_of_unfinished_work_has_the_digest_that_it_always_had(store):
    tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.tensor(7)}
    arrays = [tensors[name].numpy() for name in ("a", "b")]
    ours = Unfinished(Bank(store.root), "c1", print)._digest(tensors, "{}")
    assert ours == digest("c1", "{}", ["a", "b"], arrays=arrays)


def many(n=70):
    return [Cell(number=n) for n in range(n)]


def file_of(store, cell):
    return f"{store.folder('squares', 'w')}/{SQUARES.cell_id(cell)}.parquet"


@pytest.fixture
def read(monkeypatch):
    """Which files of rows are read from now on."""
    names, before = [], Root.read
    monkeypatch.setattr(Root, "read", lambda root, name: names.append(name) or before(root, name))
    return lambda: [name for name in names if name.endswith(".parquet")]


@pytest.mark.parametrize("how", ["written", "read"])
def test_a_sweep_that_is_stored_whole_is_known_by_one_listing(store, how, read):
    sweep(store, many())
    if how == "read":
        (note,) = store.root.sizes("verified/study=squares")
        store.root.delete(f"verified/study=squares/{note}")
        assert sweep(store, many()).n_stored == 70
        assert len(read()) == 70
    n_before = len(read())
    again = sweep(store, [*many(), Cell(number=99)])
    assert (again.n_stored, again.n_run) == (70, 1)
    assert len(read()) == n_before


def test_whoever_watches_every_cell_is_told_of_every_cell(store):
    sweep(store, many())
    told, shown = [], []
    Here(store).sweep(SQUARES, Grid(SQUARES.cell_id, many(), watch=told.append), "w", label="x")
    assert len(told) == 70
    for cells, n_told in ((many(), 0), (many(71), 71)):
        plan = Grid(SQUARES.cell_id, cells, watch=shown.append, best=str)
        Here(store).sweep(SQUARES, plan, "w", label="x")
        assert len(shown) == n_told


@pytest.mark.parametrize("how", ["torn", "touched", "gone", "other rows", "other version"])
def test_a_file_that_is_no_more_what_was_checked_is_read(store, how, read):
    sweep(store, many())
    name, study = file_of(store, many()[3]), SQUARES
    n_read = 1
    if how == "torn":
        store.root.write(name, store.root.read(name)[:-20])
    elif how == "touched":
        os.utime(store.root.within(name), (1, 1))
    elif how == "gone":
        store.root.delete(name)
        n_read = 0
    elif how == "other rows":
        study = replace(SQUARES, n_rows=lambda cell: 3 + (cell.number == 3))
    else:
        study, n_read = replace(SQUARES, version=2), 0
    n_before, n_lost = len(read()), {"other version": 70, "touched": 0}.get(how, 1)
    again = sweep(store, many(), study)
    assert (again.n_stored, again.n_run + len(again.failed)) == (70 - n_lost, n_lost)
    assert len(read()) - n_before == n_read


@pytest.mark.parametrize("how", ["torn", "flipped", "of another sweep", "of another kind", "deep"])
def test_a_note_of_what_was_checked_that_is_no_such_note_costs_a_reading(store, how, read):
    sweep(store, many())
    name = "verified/study=squares/sweep=w.json"
    whole = store.root.read(name)
    if how == "of another sweep":
        Here(store).sweep(SQUARES, Grid(SQUARES.cell_id, many()), "v", label="other")
        whole = store.root.read("verified/study=squares/sweep=v.json")
    else:
        wrong = {
            "torn": whole[:-9],
            "flipped": whole.replace(b": [", b": [1", 1),
            "deep": b"[" * 9999,
        }
        whole = wrong.get(how, b'{"files": [], "digest": ""}')
    store.root.write(name, whole)
    assert sweep(store, many()).n_stored == 70
    assert len(read()) == 70


def test_a_note_that_lies_is_dropped_by_whoever_reads_the_rows_and_the_next_run_mends(store):
    sweep(store, many())
    name = file_of(store, many()[3])
    path = Path(store.root.within(name))
    changed_at = path.stat().st_mtime_ns
    whole = store.root.read(name)
    store.root.write(name, whole[:50] + b"?" + whole[51:])
    os.utime(path, ns=(changed_at, changed_at))
    assert sweep(store, many()).n_run == 0
    with pytest.raises(DamagedError, match="run the sweep's command again"):
        results.load("squares", store=store.root)
    assert sweep(store, many()).n_run == 1
    assert len(results.load("squares", store=store.root)) == 210


def test_a_store_that_takes_no_note_is_read(store, monkeypatch, read):
    write = Root.write

    def readonly(root, name, data):
        if name.startswith("verified/"):
            raise PermissionError(13, "Permission denied", name)
        write(root, name, data)

    monkeypatch.setattr(Root, "write", readonly)
    for n_stored in (0, 70):
        assert sweep(store, many()).n_stored == n_stored
    assert len(read()) == 70


def test_small_sweeps_leave_no_note(store):
    sweep(store, many(9))
    assert store.root.folders("verified") == []
