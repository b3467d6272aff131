"""The table of a study that names none: the last winner that the store holds, else the paper's."""

import shutil
from dataclasses import replace

import pytest

from core.errors import InputError
from jobs import qtable_search, train_chain
from results.files import Root
from results.store import Store
from search import Lab, main
from search.engine.here import Here
from search.flags import parse
from search.winners import PAPERS, usual_table

FEW = ["--patterns", "3", "--qs-af", "111,116", "--benign", "50", "--adversarial", "20"]
FEW += ["--report-benign", "50", "--report-adversarial", "20", "--eps-255", "8", "--here"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("searched")
    assert main(qtable_search.JOB, [*FEW, "--store", str(folder)]) == 0
    return Store(Root(folder))


def lab_of(store: Store, *flags: str) -> Lab:
    asked = parse(train_chain.Asked, name="t", question="", argv=["--here", *flags])
    return Lab(Here(store, 1.0, False), asked)


def winner(store: Store) -> str:
    (answer,) = store.root.folders("answers")
    return store.root.read(f"answers/{answer}/winner.qtable.txt").decode().split()[1].strip(",")


def test_the_last_winner_of_these_data_and_this_network(searched, capsys):
    name = winner(searched)
    assert name in ("k3-of16-af111", "k3-of16-af116")
    assert usual_table(searched, lab_of(searched).inputs) == name
    assert f"table {name}: the winner of digits-32-small-resnet" in capsys.readouterr().err


@pytest.mark.parametrize("other", [{"fingerprint": "f" * 16}, {"side": 8}, {"model": "lenet"}])
def test_not_that_of_other_data_or_another_network(other, searched, capsys):
    inputs = replace(lab_of(searched).inputs, **other)
    assert usual_table(searched, inputs) == PAPERS
    assert "holds no finished search of digits with" in capsys.readouterr().err


def test_none_where_the_store_has_none_or_another_codec_is_asked(searched, tmp_path):
    inputs = lab_of(searched).inputs
    assert usual_table(Store(Root(tmp_path)), inputs) == PAPERS
    assert usual_table(searched, inputs, "jpeg") == "ijg50"


def test_a_damaged_winner_is_passed_over_and_said_and_damaged_rows_hide_none(
    searched, tmp_path, capsys
):
    copied, inputs = Store(Root(tmp_path / "copied")), lab_of(searched).inputs
    shutil.copytree(searched.root.uri, copied.root.uri)
    torn = min((tmp_path / "copied/rows/study=qtable_search").glob("*/*.parquet"))
    torn.write_bytes(torn.read_bytes()[:50])
    assert usual_table(copied, inputs) == winner(searched)
    (table,) = (tmp_path / "copied/answers").glob("*/winner.qtable.txt")
    table.write_text(table.read_text().replace("k3-of16", "k4-of16"))
    capsys.readouterr()
    assert usual_table(copied, inputs) == PAPERS
    assert "winner.qtable.txt is not as it was published" in capsys.readouterr().err


def test_no_smoke_run_is_a_search(searched, tmp_path, capsys):
    (state,) = (s for s in searched.states() if s["study"] == "qtable_search")
    later = state | {"command": "jobs/qtable_search.py --smoke --store kept"}
    copied = Store(Root(tmp_path / "copied"))
    shutil.copytree(searched.root.uri, copied.root.uri)
    copied.write_state("qtable_search", state["sweep"], later)
    assert usual_table(copied, lab_of(searched).inputs) == PAPERS
    assert "holds no finished search" in capsys.readouterr().err


def test_a_study_that_names_no_table_runs_behind_it(searched):
    seen = []
    job = replace(train_chain.JOB, run=lambda lab, asked: seen.append((asked, lab.asked)))
    lab = lab_of(searched)
    with pytest.raises(AttributeError):  # no answer
        job.answer(lab, lab.asked)
    assert [asked.table for pair in seen for asked in pair] == [winner(searched)] * 2
    with pytest.raises(InputError, match="the standard table is ijg50"):
        lab_of(searched, "--codec", "jpeg", "--table", "k3-of16-af51")
