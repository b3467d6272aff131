"""Rows on disk: typed, and read back by pandas alone."""

import datetime as dt
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pytest
from stored import MADE, SCHEMA, Cell, cell_id, done, rows_of

import results
from results import schema
from results.__main__ import main as results_main
from results.files import Root
from results.shown import redacted
from results.store import Found, Store


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    where = tmp_path if request.param == "folder" else f"memory://{tmp_path.name}"
    return Store(Root(where))


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
    cells = dict(store.cells("s", "w", SCHEMA, found, version=1, only={cell_id(0)}))
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
    with pytest.raises(ValueError, match=r"found (s|w)") as told:
        results.load(study, sweep=sweep, store=store.root)
    assert f"in {store.root.uri};" in str(told.value)


def test_rows_of_before_a_column_was_added_count_and_read_as_null(store):
    store.write("s", "w", rows_of(0))
    wider = SCHEMA.append(pa.field("added", pa.int32(), nullable=True))
    found = Found()
    ((_, rows),) = store.cells("s", "w", wider, found, version=1)
    assert rows.schema.equals(wider)
    assert rows.column("added").null_count == len(rows) == 3
    assert not found.set_aside


def test_rows_say_which_store_they_are_of_and_answers_do_not(tmp_path, monkeypatch):
    kept = []
    for place in ("here", "there"):
        monkeypatch.setenv("QSWEEP_STORE", str(tmp_path / place))
        store = Store(Root(tmp_path / place))
        store.write("s", "w", rows_of(0))
        rows = results.load("s", columns=["image"])
        assert rows.attrs == {"store": str(tmp_path / place)}
        list(results.publish(store, "s", "w", results.Answer(text="", frames={"rows": rows})))
        kept.append(store.root.read("answers/w/rows.parquet"))
    assert kept[0] == kept[1]


def test_listings_name_their_store(store, capsys):
    where = ["--store", store.root.uri]
    assert results_main(where) == 0
    assert store.root.uri in capsys.readouterr().out.splitlines()[0]
    store.write("s", "w", rows_of(0))
    store.write_state("s", "w", state_of("s", state="complete"))
    for command in (["list"], ["show", "w"]):
        assert results_main([*where, *command]) == 0
        assert store.root.uri in capsys.readouterr().out.splitlines()[0]


def test_a_sweep_is_loaded_by_the_beginning_or_end_of_its_name(store):
    for name in ("digits-12", "digits-34", "digits"):
        store.write("s", name, rows_of(0))
    for given, meant in (("digits", "digits"), ("34", "digits-34"), ("digits-1", "digits-12")):
        assert results.load("s", sweep=given, store=store.root)["sweep"].unique() == [meant]
    for several in ("", "dig"):
        with pytest.raises(ValueError, match=r"several .* found digits, digits-12, digits-34"):
            results.load("s", sweep=several, store=store.root)


def test_an_identity_is_for_ever():
    assert cell_id(0) == "184dc84dde8537df0131"  # another value would orphan all stored rows
    different = {
        cell_id(0), cell_id(1), schema.cell_id("t", 1, Cell(block=0)),
        schema.cell_id("s", 2, Cell(block=0)), schema.cell_id("s", 1, Cell(block=0, tables=())),
    }  # fmt: skip
    assert len(different) == 5


def test_states_of_another_kind_are_passed_over(tmp_path):
    store = Store(Root(tmp_path))
    store.root.write("sweeps/foo/bar.json", b"{}")
    store.root.write("sweeps/foo/baz.json", b"[]")
    assert store.states() == []


def state_of(study: str, **facts: object) -> dict[str, object]:
    whole = {
        "study": study, "sweep": "w", "state": "complete", "n_cells": 2, "n_done": 2, "failed": {},
        "best": "", "updated_at": "2026-01-01T00:00:00.000000+00:00",
    }  # fmt: skip
    return whole | facts


@pytest.mark.parametrize("how", ["lost", "flipped"])
def test_a_sweep_whose_state_is_lost_is_not_taken_for_another_of_its_name(tmp_path, how, capsys):
    store = Store(Root(tmp_path))
    for study, n_rows in (("s", 3), ("qtable_report", 5)):
        store.write(study, "w", rows_of(0, n_rows=n_rows, study=study))
        store.write_state(study, "w", state_of(study))
    file = tmp_path / "sweeps/s/w.json"
    if how == "lost":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes().replace(b'"n_done": 2', b'"n_done": 3'))
    where, to = ["--store", str(tmp_path)], str(tmp_path / "rows.csv")
    assert results_main([*where, "export", "w", to]) == 0
    assert len(pd.read_csv(to)) == 3
    assert results_main([*where, "export", "w", to, "--study", "qtable_report"]) == 0
    assert len(pd.read_csv(to)) == 5
    assert results_main(where) == 0
    assert "s w\n  rows without a state that can be read" in capsys.readouterr().out
    assert results_main([*where, "show", "w"]) == 0
    assert "not known" in capsys.readouterr().out
    store.write("t", "w", rows_of(0, study="t"))
    assert results_main([*where, "log", "w"]) == 2
    assert "found several" in capsys.readouterr().err


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_sweep_that_says_it_runs_but_gave_no_sign_of_life_has_stopped(tmp_path, hours, capsys):
    store = Store(Root(tmp_path))
    said_at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)
    store.write_state("s", "w", state_of("s", state="running", updated_at=said_at.isoformat()))
    assert results_main(["--store", str(tmp_path)]) == 0
    assert "stopped" in capsys.readouterr().out


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


@dataclass(frozen=True, kw_only=True)
class Named:
    """A text column and one that may be empty, as those of tables."""

    table: str
    pattern: int | None


@pytest.mark.parametrize("patterns", [[3, None, 5], [None] * 3])
def test_values_over_and_over_are_the_same_rows_as_their_list(patterns):
    names = ["k3", "none", "k5"]
    kind, made, cell = schema.schema_of(Cell, Named), MADE, Cell(block=0)
    repeated, spelt = (
        schema.rows_table(kind, study="s", version=1, cell=cell, columns=columns, made=made)
        for columns in (
            {"table": schema.tiled(names, 4), "pattern": schema.tiled(patterns, 4)},
            {"table": names * 4, "pattern": patterns * 4},
        )
    )
    assert repeated.equals(spelt, check_metadata=True)


def test_the_codes_of_a_part_leave_out_what_the_part_does_not_name():
    column = pa.array(["b", "a", "c", "a", "b"]).dictionary_encode()
    rows = pa.table({"table": column}).slice(1, 3)
    names, place = schema.codes(rows, "table")
    assert sorted(names) == ["a", "c"]
    assert [names[i] for i in place] == ["a", "c", "a"]


def test_constants_of_one_cell_are_not_taken_for_those_of_another():
    for share in (0.5, 1.0, 0.5):
        cell = Cell(block=1, share=share, name=f"n{share}")
        columns = {"image": [0], "right": [True], "pattern": [1]}
        rows = schema.rows_table(
            SCHEMA, study="s", version=1, cell=cell, columns=columns, made=MADE
        ).to_pylist()
        assert (rows[0]["block"], rows[0]["share"], rows[0]["name"]) == (1, share, f"n{share}")


@dataclass(frozen=True, kw_only=True)
class LaterRow:
    image: int
    right: bool
    margin: float


LATER = schema.schema_of(Cell, LaterRow)


def later_rows(block: int, right: object = True) -> pa.Table:
    columns = {"image": [0, 1], "right": [right] * 2, "margin": [0.5] * 2}
    return schema.rows_table(
        LATER, study="s", version=2, cell=Cell(block=block), columns=columns, made=MADE
    )


@pytest.mark.parametrize("compact", [False, True])
def test_rows_of_another_version_stay_where_they_are(store, compact):
    for block in range(2):
        store.write("s", "w", rows_of(block))
    assert not compact or store.compact("s", "w") == 2
    for block in range(2):
        store.write("s", "w", later_rows(block))
    assert not compact or store.compact("s", "w") == 2
    before = store.root.sizes(store.folder("s", "w"))
    found = Found()
    cells = dict(store.cells("s", "w", LATER, found, version=2))
    assert {len(rows) for rows in cells.values()} == {2}
    assert len(cells) == 2
    assert set(done(store)[0]) == {cell_id(0), cell_id(1)}
    assert found.set_aside == []
    assert store.root.sizes(store.folder("s", "w")) == before
    frame = results.load("s", sweep="w", store=store.root)
    assert len(frame) == 2 * 3 + 2 * 2
    assert frame["margin"].isna().sum() == 6
    assert frame["pattern"].isna().sum() == 2 + 4


def test_sweeps_of_unequal_columns_keep_them_all(store):
    store.write("s", "a", rows_of(0))
    store.write("s", "b", later_rows(0))
    frame = results.load("s", store=store.root)
    assert frame.groupby("sweep")["margin"].count().to_dict() == {"a": 0, "b": 2}
    assert frame.groupby("sweep")["pattern"].count().to_dict() == {"a": 2, "b": 0}


def test_columns_of_one_name_and_two_types_are_an_error_that_names_both(store):
    store.write("s", "a", rows_of(0))
    other = rows_of(0).set_column(
        rows_of(0).schema.get_field_index("right"), "right", pa.array(["yes"] * 3)
    )
    store.write("s", "b", other)
    with pytest.raises(ValueError, match=r"right is bool in .*sweep=a.* and string in .*sweep=b"):
        results.load("s", store=store.root)
