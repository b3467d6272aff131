"""The engine: resume, failures, faults. One local Ray serves the whole module."""

import datetime as dt
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import ray
import torch
from studies import SQUARES, Cell

from core.errors import InputError
from results import schema
from results.__main__ import main as results_main
from results.files import Root
from results.store import Found, Store
from search.cluster import connection, provenance
from search.engine import ahead, task
from search.engine.engine import Engine
from search.engine.plan import Grid
from search.engine.run import Run, run_cells
from search.engine.task import evaluate_cell

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    path = f"{HERE}:{HERE.parent}"
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, logging_level="warning",
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture
def store(tmp_path):
    return Store(Root(tmp_path / "store"))


def sweep(store: Store, cells: list[Cell], **state):
    plan = Grid(SQUARES.cell_id, cells)
    engine = Engine(store)
    return engine.sweep(SQUARES, plan, "w", label="squares", state=state or None)


def stored(store: Store) -> pd.DataFrame:
    frames = [
        rows.to_pandas()
        for _, rows in store.cells("squares", "w", SQUARES.schema(), Found(), version=1)
    ]
    rows = pd.concat(frames).drop(columns=list(schema.MEASURED))
    return rows.sort_values(["number", "position"]).reset_index(drop=True)


def test_rows_equal_those_of_a_plain_loop(store, tmp_path):
    cells = [Cell(number=n) for n in range(7)]
    outcome = sweep(store, cells)
    assert (outcome.n_stored, outcome.n_run, outcome.failed) == (0, 7, {})
    plain = Store(Root(tmp_path / "plain"))
    for cell in cells:
        plain.write("squares", "w", evaluate_cell(SQUARES, cell, plain))
    pd.testing.assert_frame_equal(stored(store), stored(plain))


class Sent:
    """Stands for `run_cells`: notes what goes out; tasks of no cells become another."""

    def __init__(self, waking=None) -> None:
        self.waking, self.sent, self.woken = waking, [], []

    def options(self, **size):
        real = run_cells.options(**size)

        def remote(task, cells, *coming):
            self.sent.append((len(cells), size["num_cpus"]))
            if cells or self.waking is None:
                return real.remote(task, cells, *coming)
            self.woken.append(self.waking.remote())
            return self.woken[-1]

        return SimpleNamespace(remote=remote)


def test_workers_that_sleep_are_woken_once_before_the_first_cell(store, monkeypatch):
    sent = Sent()
    monkeypatch.setattr("search.engine.run.run_cells", sent)
    engine = Engine(store, asleep=True)

    def ask(*numbers: int) -> list[tuple[int, float]]:
        cells = [Cell(number=n) for n in numbers]
        engine.sweep(SQUARES, Grid(SQUARES.cell_id, cells), "w", label="squares", whole_node=True)
        now, sent.sent = sent.sent, []
        return now

    # As many as there are slots of the usual size, though the cells take the whole node.
    assert ask(1, 2) == [(0, 1.0), (0, 1.0), (1, 2.0), (1, 2.0)]
    assert ask(1, 2, 3) == [(1, 2.0)]
    engine = Engine(store, asleep=True)
    assert ask(1, 2, 3) == []
    assert engine.asleep  # all is stored: nobody was needed
    engine = Engine(store)
    assert ask(4) == [(1, 2.0)]


@pytest.mark.parametrize("how", ["never ends", "fails", "loses its process"])
def test_waking_neither_delays_nor_changes_cells(how, store, tmp_path, monkeypatch):
    @ray.remote(num_cpus=0, max_retries=0)
    def waking() -> None:
        if how == "fails":
            raise RuntimeError("nobody is told")
        if how == "loses its process":
            os._exit(1)
        time.sleep(600)

    sent = Sent(waking)
    monkeypatch.setattr("search.engine.run.run_cells", sent)
    plan = Grid(SQUARES.cell_id, [Cell(number=n) for n in range(5)])
    outcome = Engine(store, asleep=True).sweep(SQUARES, plan, "w", label="squares")
    assert (outcome.n_run, outcome.failed) == (5, {})
    assert len(sent.woken) == 2
    if how == "never ends":
        assert ray.wait(sent.woken, timeout=0)[0] == []
        for ref in sent.woken:
            ray.cancel(ref, force=True)
    plain = Store(Root(tmp_path / "plain"))
    for n in range(5):
        plain.write("squares", "w", evaluate_cell(SQUARES, Cell(number=n), plain))
    pd.testing.assert_frame_equal(stored(store), stored(plain))


@pytest.mark.parametrize("joined", [True, False])
def test_workers_sleep_where_ray_was_started_here(joined, store, monkeypatch):
    monkeypatch.setattr(connection, "connected", lambda: False)
    monkeypatch.setattr(connection, "connect", lambda **_: joined)
    monkeypatch.setattr(Engine, "_examine_nodes", lambda _: None)
    engine = Engine(store)
    engine.start()
    assert engine.asleep is not joined


def test_a_finished_sweep_computes_nothing(store):
    cells = [Cell(number=n) for n in range(3)]
    sweep(store, cells)
    assert sweep(store, cells).n_run == 0
    more = sweep(store, [*cells, Cell(number=9)])
    assert (more.n_stored, more.n_run) == (3, 1)


def test_a_torn_file_is_named_and_computed_again(store, capsys):
    cells = [Cell(number=n) for n in range(3)]
    sweep(store, cells)
    folder = store.folder("squares", "w")
    torn = f"{folder}/{SQUARES.cell_id(cells[1])}.parquet"
    store.root.write(torn, store.root.read(torn)[:-20])
    store.root.write(f"{folder}/notes.txt", b"mine")
    assert sweep(store, cells).n_run == 1
    said = capsys.readouterr().err
    assert "notes.txt cannot be used" in said
    assert SQUARES.cell_id(cells[1]) in said
    assert len(stored(store)) == 9


def test_a_failing_cell_is_named_counted_and_retried(store, tmp_path, capsys):
    flag = tmp_path / "flag"
    cells = [
        Cell(number=0), Cell(number=1, fails="bug"), Cell(number=2, fails="input"),
        Cell(number=3, fails=f"once:{flag}"), Cell(number=4),
    ]  # fmt: skip
    outcome = sweep(store, cells, command="x")
    assert outcome.n_run == 2
    errors = sorted(outcome.failed.values())
    assert "ZeroDivisionError" in errors[1]
    assert errors[2].startswith("expected an even number")
    assert SQUARES.cell_id(cells[1]) in capsys.readouterr().err
    (state,) = store.states()
    assert (state["state"], state["n_done"], len(state["failed"])) == ("failed", 2, 3)
    again = sweep(store, cells, command="x")
    assert (again.n_stored, again.n_run, len(again.failed)) == (2, 1, 2)


def test_a_worker_that_dies_is_tried_again(store, tmp_path):
    cells = [Cell(number=n) for n in range(3)]
    cells.append(Cell(number=3, fails=f"worker-once:{tmp_path / 'flag'}"))
    outcome = sweep(store, cells)
    assert (outcome.n_run, outcome.failed) == (4, {})


def test_a_process_whose_device_is_broken_ends_and_its_cells_run_elsewhere(store, tmp_path):
    cells = [Cell(number=n, sleep_s=0.02, fails=f"sick:{tmp_path / 'lock'}") for n in range(40)]
    outcome = sweep(store, cells)
    assert (outcome.n_run, outcome.failed) == (40, {})


def test_a_device_that_answers_nothing_more_is_broken(monkeypatch, capsys):
    def answer_nothing():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", answer_nothing)
    assert task.broken("cuda")
    assert "out of order" in capsys.readouterr().err
    assert not task.broken("cpu")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert not task.broken("cuda")


def test_tasks_that_share_a_gpu_share_its_memory(store, monkeypatch):
    shares = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    monkeypatch.setattr(provenance, "hardware", lambda device: device)
    for share in (0.5, 1.0, 2.0):
        asked = task.Task(SQUARES, store, 1, "cuda", share)
        assert isinstance(run_cells._function(asked, [Cell(number=1)])[0], task.Done)
    assert shares == [0.5]


def test_a_worker_is_told_the_pieces_of_what_it_will_run_next(store, monkeypatch):
    told = []

    def pieces_of(cell: Cell) -> list[str]:
        told.append(cell.number)
        return []

    monkeypatch.setattr(ahead, "pieces_of", pieces_of)
    monkeypatch.setattr(Run, "_per_task", lambda _: 1)
    assert sweep(store, [Cell(number=n) for n in range(9)]).n_run == 9
    assert told == [2, 3, 4, 5, 6, 7, 8, 8]  # two workers: the next but one, as long as there is


def test_a_worker_fetches_them_while_it_computes(store, monkeypatch):
    fetched = []
    monkeypatch.setattr(ahead, "fetch", lambda root, pieces: fetched.append((root, pieces)))
    asked = task.Task(SQUARES, store, 1, "cpu")
    run_cells._function(asked, [Cell(number=1)], ["0" * 64])
    assert fetched == [(store.root, ["0" * 64])]


def test_arithmetic_is_exact_whatever_the_process_ran_before(store):
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = True, False
    flags = []
    told = replace(SQUARES, load=lambda *_: flags.append(
        (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic)
    ))  # fmt: skip
    task.run_cell(task.Task(told, store, 1, "cpu"), Cell(number=1))
    assert flags == [(False, True)]


def test_short_cells_that_go_out_together_fail_alone(store, monkeypatch):
    """One cell raises and one kills its process: their neighbours in the same task are stored."""
    sizes, submit = [], Run._submit

    def noted(run: Run, cells: list) -> None:
        sizes.append(len(cells))
        submit(run, cells)

    monkeypatch.setattr(Run, "_submit", noted)
    monkeypatch.setattr("search.engine.run._TASK_S", 10.0)  # however slow this machine is
    bad = {150: "bug", 160: "worker"}
    cells = [Cell(number=n, fails=bad.get(n, "")) for n in range(250)]
    outcome = sweep(store, cells)
    assert max(sizes) > 1
    failing = {SQUARES.cell_id(cell) for cell in cells if cell.fails}
    assert set(outcome.failed) == failing
    assert outcome.n_run == len(cells) - len(bad)
    counts = stored(store)["number"].value_counts().to_dict()
    assert counts == {c.number: 3 for c in cells if not c.fails}


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_done(store, monkeypatch):
    cells = [Cell(number=n) for n in range(4)]
    sweep(store, cells[:2])

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_encoded", full)
        with pytest.raises(InputError, match=r"No space left .*\n?.*2 cells .* are stored"):
            sweep(store, cells)
    assert sweep(store, cells).n_stored == 2


def test_stored_only_runs_nothing(store):
    engine = Engine(store, stored_only=True)
    with pytest.raises(InputError, match="not all rows are in the store"):
        engine.sweep(SQUARES, Grid(SQUARES.cell_id, [Cell(number=1)]), "w", label="squares")


def driver(folder: Path, n_cells: int) -> subprocess.Popen:
    code = (
        "import ray\n"
        "from results.files import Root; from results.store import Store\n"
        "from search.engine.engine import Engine; from search.engine.plan import Grid\n"
        "from studies import SQUARES, Cell\n"
        f"engine = Engine(Store(Root({str(folder)!r})))\n"
        f"cells = [Cell(number=n, sleep_s=0.05) for n in range({n_cells})]\n"
        "plan = Grid(SQUARES.cell_id, cells)\n"
        "done = engine.sweep(SQUARES, plan, 'w', label='squares', state={})\n"
        "print(done.n_stored, done.n_run)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{HERE}:{HERE.parent}", "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def n_files(store: Store) -> int:
    return len(store.root.sizes(store.folder("squares", "w")))


def test_a_driver_killed_in_mid_sweep_ends_with_the_same_rows(store, tmp_path):
    whole = Store(Root(tmp_path / "whole"))
    cells = [Cell(number=n, sleep_s=0.05) for n in range(60)]
    sweep(whole, cells)
    process = driver(tmp_path / "store", 60)
    while n_files(store) < 17 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    done = n_files(store)
    assert 17 <= done < 60
    last = driver(tmp_path / "store", 60)
    out, err = last.communicate(timeout=240)
    n_stored, n_run = map(int, out.split()[-2:])
    assert n_stored == done, err
    assert n_stored + n_run == 60
    pd.testing.assert_frame_equal(stored(store), stored(whole))


def test_two_drivers_on_one_sweep_lose_and_double_nothing(store, tmp_path):
    drivers = [driver(tmp_path / "store", 40) for _ in range(2)]
    for process in drivers:
        assert process.communicate(timeout=180)[0]
        assert process.returncode == 0
    rows = stored(store)
    assert len(rows) == 120
    assert rows["number"].tolist() == sorted(list(range(40)) * 3)
    assert (rows["square"] == rows["number"] ** 2).all()


def test_a_run_leaves_a_log_beside_the_rows(store, capsys):
    cells = [Cell(number=0), Cell(number=1, fails="bug"), Cell(number=2)]
    sweep(store, cells, command="job.py --flag")
    sweep(store, cells, command="job.py --flag")
    where = ["--store", store.root.uri]
    assert results_main([*where, "log", "w"]) == 0
    said = capsys.readouterr().out
    assert said.count("command: job.py --flag") == said.count("commit: ") == 2  # two runs
    assert said.count(f"FAILED squares {SQUARES.cell_id(cells[1])}") == 2
    assert "failed: squares: 2/3 cells" in said
    assert "nodes: 0 -> 1" in said


def test_a_running_sweep_tells_its_rate_and_what_is_left(store, capsys):
    sweep(store, [Cell(number=n) for n in range(2)], command="x")
    state = store.states()[0]
    now = dt.datetime.now(dt.UTC).isoformat()
    running = {"state": "running", "n_cells": 9, "updated_at": now, "rate_per_s": 2.0, "left_s": 75}
    store.write_state("squares", "w", state | running)
    results_main(["--store", store.root.uri])
    said = capsys.readouterr().out
    assert "2.0/s" in said
    assert "0:01:15" in said


def test_what_a_search_stands_on_is_listed_while_it_is_made(store, capsys):
    sweep(store, [Cell(number=1), Cell(number=2, fails="bug")])  # no state of its own
    results_main(["--store", store.root.uri])
    assert "failed" in capsys.readouterr().out
    sweep(store, [Cell(number=1)])
    state = store.states()[0] | {"state": "complete"}
    store.write_state("squares", "w", state)
    results_main(["--store", store.root.uri])
    assert "no sweeps" in capsys.readouterr().out


def test_the_listing_tells_state_without_ray(store, capsys):
    sweep(store, [Cell(number=n) for n in range(2)], command="x")
    assert results_main(["--store", store.root.uri]) == 0
    assert "squares" in capsys.readouterr().out
    state = store.states()[0] | {"state": "running", "updated_at": "2026-01-01T00:00:00+00:00"}
    store.write_state("squares", "w", state)
    results_main(["--store", store.root.uri, "list"])
    assert "stopped" in capsys.readouterr().out
    assert results_main(["--store", store.root.uri, "show", "w"]) == 0
    assert results_main(["--store", store.root.uri, "compact", "w"]) == 0
    assert n_files(store) == 1
    for name in ("rows.csv", "rows.parquet"):
        to = Path(store.root.uri) / name
        assert results_main(["--store", store.root.uri, "export", "w", str(to)]) == 0
        assert to.stat().st_size
    assert results_main(["--store", store.root.uri, "export", "w", "rows.txt"]) == 2
    assert results_main(["--store", store.root.uri, "show", "nothing"]) == 2
    assert "found none" in capsys.readouterr().err
    assert results_main(["--store", store.root.uri, "export", "w", "/nowhere/rows.csv"]) == 2
    assert "a folder that is there, found none: /nowhere" in capsys.readouterr().err
    assert results_main(["--store", ""]) == 2
    assert "expected a text, got an empty one" in capsys.readouterr().err
    assert results_main(["--store", str(Path(store.root.uri) / "rows.csv")]) == 2
    assert "found a file" in capsys.readouterr().err


def test_a_sweep_is_named_by_either_end(store, capsys):
    for name in ("digits-1a2b", "digits-3c4d"):
        plan = Grid(SQUARES.cell_id, [Cell(number=1)])
        Engine(store).sweep(SQUARES, plan, name, label="squares", state={"command": "x"})
    for called in ("digits-1", "1a2b"):
        assert results_main(["--store", store.root.uri, "show", called]) == 0
        assert "digits-1a2b" in capsys.readouterr().out
    assert results_main(["--store", store.root.uri, "show", "digits"]) == 2
    assert "found several" in capsys.readouterr().err
