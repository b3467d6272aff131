"""Rows on disk: typed, whole or not at all, and read back by pandas alone."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pytest

import results
from results import schema
from results.files import Root, redacted
from results.store import Found, Store


@dataclass(frozen=True, kw_only=True)
class Cell:
    block: int
    name: str = "ä b"
    share: float = 0.5
    tables: tuple[str, ...] = ("k1", "k2")


@dataclass(frozen=True, kw_only=True)
class Row:
    image: int
    right: bool
    pattern: int | None


SCHEMA = schema.schema_of(Cell, Row)
MADE = schema.Provenance(
    commit="abc", versions="python=3", hardware="cpu", host="here", wall_s=1.5,
    finished_at="2026-11-21T10:00:00.123456+00:00",
)  # fmt: skip


def rows_of(block: int, n_rows: int = 3, study: str = "s") -> pa.Table:
    columns = {
        "image": list(range(n_rows)), "right": [True] * n_rows,
        "pattern": [None, *range(1, n_rows)],
    }  # fmt: skip
    return schema.rows_table(
        SCHEMA, study=study, version=1, cell=Cell(block=block), columns=columns, made=MADE
    )


def cell_id(block: int) -> str:
    return schema.cell_id("s", 1, Cell(block=block))


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    where = tmp_path if request.param == "folder" else f"memory://{tmp_path.name}"
    return Store(Root(where))


def done(store: Store) -> tuple[dict[str, pa.Table], Found]:
    found = Found()
    return dict(store.cells("s", "w", SCHEMA, found)), found


def test_rows_come_back_as_they_went(store):
    for block in range(3):
        store.write("s", "w", rows_of(block))
    cells, found = done(store)
    assert set(cells) == {cell_id(block) for block in range(3)}
    assert found.n_cells == 3
    assert cells[cell_id(1)].equals(rows_of(1))


def test_cells_that_nobody_asks_for_stay_unread(store):
    for block in range(3):
        store.write("s", "w", rows_of(block))
    torn = f"{store.folder('s', 'w')}/{cell_id(2)}.parquet"
    store.root.write(torn, b"PAR1")
    store.root.write(f"{store.folder('s', 'w')}/notes.txt", b"mine")
    found = Found()
    cells = dict(store.cells("s", "w", SCHEMA, found, only={cell_id(0)}))
    assert set(cells) == {cell_id(0)}
    assert store.root.exists(torn)
    assert [aside.name.rsplit("/", 1)[1] for aside in found.set_aside] == ["notes.txt"]


def test_pandas_alone_reads_the_documented_path(tmp_path):
    store = Store(Root(tmp_path))
    for block in range(2):
        store.write("s", "w", rows_of(block))
    frame = pd.read_parquet(tmp_path / "rows" / "study=s")
    assert len(frame) == 6
    assert set(frame["sweep"]) == {"w"}
    assert frame["wall_s"].eq(1.5).all()
    assert str(frame["finished_at"].dtype) == "datetime64[us, UTC]"
    assert frame["name"].eq("ä b").all()
    one = pd.read_parquet(tmp_path / "rows" / "study=s" / "sweep=w" / f"{cell_id(0)}.parquet")
    assert len(one) == 3


def test_load_keeps_whole_numbers_whole(store):
    store.write("s", "w", rows_of(0))
    frame = results.load("s", store=store.root)
    assert frame["pattern"].dtype == pd.Int32Dtype()
    assert frame["pattern"].isna().sum() == 1
    assert frame["sweep"].iloc[0] == "w"
    assert list(results.load("s", sweep="w", store=store.root, columns=["image"])) == ["image"]


@pytest.mark.parametrize("sweep", [None, "other"])
def test_what_is_not_there_is_named(store, sweep):
    store.write("s", "w", rows_of(0))
    study = "other" if sweep is None else "s"
    with pytest.raises(ValueError, match=r"found (s|w)"):
        results.load(study, sweep=sweep, store=store.root)


def test_an_identity_is_for_ever():
    assert cell_id(0) == "184dc84dde8537df0131"  # another value would orphan all stored rows
    different = {
        cell_id(0), cell_id(1), schema.cell_id("t", 1, Cell(block=0)),
        schema.cell_id("s", 2, Cell(block=0)), schema.cell_id("s", 1, Cell(block=0, tables=())),
    }  # fmt: skip
    assert len(different) == 5


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


def test_states_of_another_kind_are_passed_over(tmp_path):
    store = Store(Root(tmp_path))
    store.root.write("sweeps/foo/bar.json", b"{}")
    store.root.write("sweeps/foo/baz.json", b"[]")
    assert store.states() == []


def test_compaction_changes_no_row(store):
    for block in range(5):
        store.write("s", "w", rows_of(block))
    before, _ = done(store)
    assert store.compact("s", "w") == 5
    assert len(store.root.sizes(store.folder("s", "w"))) == 1
    after, found = done(store)
    assert not found.set_aside
    assert set(after) == set(before)
    for name, rows in before.items():
        assert after[name].to_pylist() == rows.to_pylist()
    store.write("s", "w", rows_of(7))
    assert store.compact("s", "w") == 2
    assert len(done(store)[0]) == 6
    assert len(results.load("s", store=store.root)) == 18
    assert store.compact("s", "w") == 0


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
        "from test_store import *\n"
        f"store = Store(Root({str(tmp_path)!r}))\n"
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


def test_names_stay_inside_the_root(tmp_path):
    root = Root(tmp_path)
    for name in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(ValueError, match="inside"):
            root.write(name, b"")


def test_secrets_are_not_shown():
    uri = "s3://KEY:SECRET@bucket/folder?session=TOKEN"
    assert redacted(uri) == "s3://bucket/folder"
    assert redacted("/plain/path@home") == "/plain/path@home"


def test_an_unknown_scheme_is_named():
    with pytest.raises(ValueError, match="cannot open nonsense://place"):
        Root("nonsense://user:secret@place")


def test_columns_must_be_those_of_the_row():
    def table(columns):
        return schema.rows_table(
            SCHEMA, study="s", version=1, cell=Cell(block=0), columns=columns, made=MADE
        )

    good = {"image": [1], "right": [True], "pattern": [None]}
    with pytest.raises(ValueError, match="pattern is missing"):
        table({"image": [1], "right": [True]})
    with pytest.raises(ValueError, match="not fields of Row"):
        table(good | {"extra": [1]})
    with pytest.raises(ValueError, match="one length"):
        table(good | {"image": [1, 2]})
    with pytest.raises(pa.ArrowInvalid):
        table(good | {"image": [2**40]})
