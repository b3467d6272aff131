"""What torn files, full disks, killed writers and compactions leave: whole rows or none."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from stored import cell_id, done, rows_of

import results
from results.__main__ import main as results_main
from results.files import Root
from results.rowfile import DamagedError
from results.store import Store

STATE = {
    "study": "s", "sweep": "w", "state": "complete", "n_cells": 2, "n_done": 2, "failed": {},
    "best": "", "updated_at": "2026-01-01T00:00:00.000000+00:00",
}  # fmt: skip


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -9])
def test_a_torn_file_is_set_aside_and_named(tmp_path, cut):
    store = Store(Root(tmp_path))
    for block in range(2):
        store.write("s", "w", rows_of(block))
    path = tmp_path / "rows/study=s/sweep=w" / f"{cell_id(0)}.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    cells, found = done(store)
    assert set(cells) == {cell_id(1)}
    (aside,) = found.set_aside
    assert cell_id(0) in aside.name
    assert not path.exists()
    assert (tmp_path / "aside/s/w" / path.name).read_bytes() == whole[:cut]


def test_a_flipped_bit_in_the_data_is_noticed(tmp_path):
    store = Store(Root(tmp_path))
    store.write("s", "w", rows_of(0, n_rows=500))
    path = tmp_path / "rows/study=s/sweep=w" / f"{cell_id(0)}.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x40
    path.write_bytes(bytes(data))
    cells, found = done(store)
    assert not cells
    assert len(found.set_aside) == 1


@pytest.mark.parametrize("kind", ["text", "other columns", "other study", "other cell"])
def test_a_foreign_file_is_set_aside(tmp_path, kind):
    store = Store(Root(tmp_path))
    store.write("s", "w", rows_of(0))
    folder = tmp_path / "rows/study=s/sweep=w"
    if kind == "text":
        (folder / "notes.txt").write_text("mine")
    elif kind == "other columns":
        pd.DataFrame({"a": [1]}).to_parquet(folder / f"{cell_id(1)}.parquet")
    elif kind == "other study":
        store.write("t", "w", rows_of(1, study="t"))
        theirs = next((tmp_path / "rows/study=t/sweep=w").iterdir())
        theirs.rename(folder / theirs.name)
    else:
        (folder / f"{cell_id(0)}.parquet").rename(folder / f"{cell_id(1)}.parquet")
    cells, found = done(store)
    assert set(cells) == (set() if kind == "other cell" else {cell_id(0)})
    assert len(found.set_aside) == 1


def test_a_store_that_does_not_answer_is_no_torn_file(tmp_path, monkeypatch):
    store = Store(Root(tmp_path))
    store.write("s", "w", rows_of(0))

    def unreachable(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Root, "read", unreachable)
        with pytest.raises(OSError, match="Input/output"):
            done(store)
    cells, found = done(store)
    assert len(cells) == 1
    assert not found.set_aside


def test_a_second_torn_file_of_a_name_does_not_replace_the_first(tmp_path):
    store = Store(Root(tmp_path))
    for text in (b"first", b"second"):
        store.root.write(f"rows/study=s/sweep=w/{cell_id(0)}.parquet", text)
        done(store)
    assert sorted(p.read_bytes() for p in (tmp_path / "aside/s/w").iterdir()) == [
        b"first", b"second",
    ]  # fmt: skip


@pytest.mark.parametrize("stop_at", ["delete", "move"])
def test_a_compaction_that_is_killed_loses_and_doubles_nothing(tmp_path, stop_at, monkeypatch):
    store = Store(Root(tmp_path))
    for block in range(4):
        store.write("s", "w", rows_of(block))

    class KilledError(BaseException):
        pass

    calls = []

    def dies(*_):
        calls.append(1)
        if len(calls) == 2 or stop_at == "move":
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Root, stop_at, dies)
        with pytest.raises(KilledError):
            store.compact("s", "w")
    cells, found = done(Store(Root(tmp_path)))
    assert len(cells) == 4
    assert not found.set_aside
    assert len(pd.read_parquet(tmp_path / "rows/study=s")) == 12


def test_a_writer_killed_at_any_moment_leaves_whole_files_only(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from stored import *\n"
        "from results.files import Root\n"
        f"store = Store(Root({str(tmp_path)!r}))\n"
        "store.write('s', 'w', rows_of(0, n_rows=2000))  # however slow this machine is\n"
        "print('go', flush=True)\n"
        "for block in range(100000): store.write('s', 'w', rows_of(block % 50, n_rows=2000))\n"
    )
    for delay_s in (0.05, 0.13, 0.21):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert writer.stdout.readline() == "go\n"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(delay_s)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        cells, found = done(Store(Root(tmp_path)))
        assert cells
        assert not found.set_aside


def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path, monkeypatch):
    root = Root(tmp_path)
    root.write("a/file", b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        root.write("a/file", b"new")
    assert root.read("a/file") == b"old"
    assert os.listdir(tmp_path / "a") == ["file"]  # noqa: PTH208


def test_a_disk_without_room_is_noticed_before_work(tmp_path, monkeypatch):
    store, written = Store(Root(tmp_path)), []

    def cramped(_, __, data):
        written.append(len(data))
        if len(data) > 1000:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Root, "write", cramped)
    with pytest.raises(OSError, match="No space left"):
        store.check_writable()
    assert written == [2**20]


def test_what_killed_writers_left_is_removed_after_a_day(tmp_path):
    store = Store(Root(tmp_path))
    store.write("s", "w", rows_of(0))
    folder = tmp_path / "rows/study=s/sweep=w"
    for name, age_s in (("old", 90_000), ("new", 60)):
        (folder / f".{name}.part").touch()
        os.utime(folder / f".{name}.part", (time.time() - age_s,) * 2)
    store.check_writable()
    left = sorted(path.name for path in folder.iterdir())
    assert left == [".new.part", f"{cell_id(0)}.parquet"]


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_an_export_that_fails_leaves_what_had_its_name(tmp_path, monkeypatch, capsys, name):
    store = Store(Root(tmp_path / "store"))
    store.write("s", "w", rows_of(0))
    to = tmp_path / name
    to.write_text("before")

    def half(_, path, **__):
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", half)
        patch.setattr(pd.DataFrame, "to_parquet", half)
        assert results_main(["--store", str(tmp_path / "store"), "export", "w", str(to)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert to.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "store"])
    assert results_main(["--store", str(tmp_path / "store"), "export", "w", str(to)]) == 0
    assert to.read_bytes() != b"before"


def flips(data: bytes, step: int):
    """The file with one bit of every so many bytes flipped, from the first to the last."""
    for place in range(0, len(data), step):
        yield data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


@pytest.mark.parametrize("compact", [False, True])
def test_every_reader_sees_every_flipped_bit_and_names_the_file(tmp_path, compact, capsys):
    store = Store(Root(tmp_path))
    for block in range(2):
        store.write("s", "w", rows_of(block))
    assert not compact or store.compact("s", "w") == 2
    path = min(tmp_path.glob("rows/*/*/*.parquet"))
    name, whole = store.root.path(str(path.relative_to(tmp_path))), path.read_bytes()
    seal = whole.index(b"qsweep sha256")
    for data in [*flips(whole, 29), whole[:-1], whole + b"PAR1"]:
        path.write_bytes(data)
        if data.find(b"qsweep sha256") != seal:  # then another bit cannot be wrong
            continue
        with pytest.raises(DamagedError, match=re.escape(name)):
            results.load("s", store=tmp_path)
    path.write_bytes(whole[:100] + b"?" + whole[101:])
    for words in (["compact", "w"], ["export", "w", f"{tmp_path}/rows.csv"]):
        store.write_state("s", "w", STATE)
        assert results_main(["--store", str(tmp_path), *words]) == 2
        assert f"error: {name} is damaged" in capsys.readouterr().err


def test_a_file_that_another_program_wrote_again_is_not_believed(tmp_path):
    store = Store(Root(tmp_path))
    store.write("s", "w", rows_of(0))
    (path,) = tmp_path.glob("rows/*/*/*.parquet")
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    with pytest.raises(DamagedError, match="rewritten"):
        results.load("s", store=tmp_path)
    _, found = done(store)
    assert [aside.reason for aside in found.set_aside] == ["it was rewritten: its seal is gone"]


def test_rows_are_loaded_whole_while_a_killed_compaction_waits_to_be_finished(tmp_path):
    store = Store(Root(tmp_path))
    for block in range(3):
        store.write("s", "w", rows_of(block))
    parts = {path: path.read_bytes() for path in tmp_path.glob("rows/*/*/*.parquet")}
    store.compact("s", "w")
    (merged,) = tmp_path.glob("rows/*/*/compact-*")
    merged.rename(merged.with_name("_compacting.parquet"))
    first = next(iter(parts))
    first.write_bytes(parts[first])  # the others are deleted already
    assert len(results.load("s", store=tmp_path)) == 9
