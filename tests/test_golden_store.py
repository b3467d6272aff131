"""A store of version 0.1, as it lies on other people's disks: read, found, and gone on with.

`golden/store.tar.xz` holds the rows of every job's smoke run by commit 307cdfe, some of its sweeps
compacted, and of the bank only what the table search needs. Pieces that are not there are stood in
for by empty files of their size: whoever finds rows asks no more of a piece than to be there.
"""

import importlib
import re
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from stored import SMOKE_THEN

import results
from results.__main__ import main as results_main
from results.files import Root
from results.store import Store
from search import Lab, main
from search.engine.here import Here
from search.flags import parse
from search.tuning.ensembles import Ensembles
from search.tuning.space import Setting

GOLDEN = Path(__file__).parent / "golden" / "store.tar.xz"
STUDIES = {  # rows, and how many of them are right; by the code that stored them
    "ablation": (300, 110), "adversarial": (151, 125), "adversarial_training": (2, None),
    "benign": (392, 323), "chain": (28, None), "classifier": (5, None),
    "color_space": (280, 186), "ensemble_report": (240, 207), "ensemble_tune": (510, None),
    "examples": (160, None), "frequency_analysis": (128, None), "member_outputs": (7600, 7044),
    "pgd_restarts": (80, 60), "qtable_report": (280, 248), "qtable_search": (140, 133),
    "threat_table": (240, 174),
}  # fmt: skip
ASKED = ("qtable_search", "frequency_analysis", "threat_table", "ablation")  # as they were


@pytest.fixture
def store(tmp_path) -> Store:
    with tarfile.open(GOLDEN) as archive:
        archive.extraction_filter = getattr(
            tarfile, "data_filter", None
        )  # before Python 3.11.4: none
        archive.extractall(tmp_path)
    for file in tmp_path.glob("rows/*/*/*.parquet"):
        if "piece_bytes" in pq.read_schema(file).names:
            pieces = pq.read_table(file, columns=["piece", "piece_bytes"]).to_pydict()
            for name, size in set(zip(pieces["piece"], pieces["piece_bytes"], strict=True)):
                piece = tmp_path / "bank" / f"{name}.safetensors"
                if not piece.exists():
                    piece.touch()
                    with piece.open("rb+") as blank:
                        blank.truncate(size)
    return Store(Root(tmp_path))


def smoke(store: Store, name: str, *flags: str) -> int:
    job = importlib.import_module(f"jobs.{name}").JOB
    then = SMOKE_THEN.get(name, [])
    return main(job, ["--smoke", "--here", "--store", store.root.uri, *then, *flags])


def numbers(text: str) -> list[tuple[float, ...]]:
    """Every number with its limits."""
    number = r"([+-]?\d+(?:\.\d+)?)"
    found = re.findall(rf"{number} \[\s*{number},\s*{number}\]", text)
    return [tuple(map(float, triple)) for triple in found]


@pytest.mark.parametrize("study", STUDIES)
def test_rows_are_loaded_with_the_counts_they_had(store, study):
    rows = results.load(study, store=store.root)
    n_rows, n_right = STUDIES[study]
    assert len(rows) == n_rows
    said = "predicted" if "predicted" in rows else "undefended"
    if n_right is not None:
        assert int((rows[said] == rows["label"]).sum()) == n_right
    files = list(Path(store.root.uri).glob(f"rows/study={study}/*/*.parquet"))
    assert len(rows) == len(pd.concat([pq.ParquetFile(f).read().to_pandas() for f in files]))


def test_sweeps_are_listed_shown_and_reported(store, capsys):
    assert results_main(["--store", store.root.uri]) == 0
    listed = capsys.readouterr().out
    assert max(map(len, listed.splitlines())) <= 100
    states = [state for state in store.states() if state.get("listed", True)]
    assert len(states) >= 9
    for state in states:
        assert f"{state['study']} {state['sweep']}" in re.sub(" +", " ", listed)
        words = ["--store", store.root.uri, "show", state["sweep"], "--study", state["study"]]
        assert results_main(words) == 0
        shown = capsys.readouterr().out
        rows = results.load(state["study"], sweep=state["sweep"], store=store.root)
        assert f"{len(rows)}, from" in shown
        assert not [line for line in shown.splitlines() if re.fullmatch(r" *[a-z_]+ *", line)]
        assert ("held-out report" in shown) == (state["study"] == "qtable_search")
        for path in Path(store.root.uri, "answers", state["sweep"]).glob("*.png"):
            assert f"figure  {path}" in shown
        whole = re.compile(r" +command |.*/answers/")  # what is copied stays in one line
        assert max(len(x) for x in shown.splitlines() if not whole.match(x)) <= 100
    assert results_main(["--store", store.root.uri, "report"]) == 0
    page = (Path(store.root.uri) / "report.html").read_text()
    assert all(state["sweep"] in page for state in states)


@pytest.mark.parametrize("name", ASKED)
def test_a_stored_sweep_answers_again_with_the_same_numbers(store, name, capsys):
    (kept,) = (
        path / "answer.txt"
        for path in Path(store.root.uri).glob("answers/*")
        if (Path(store.root.uri) / f"rows/study={name}/sweep={path.name}").exists()
    )
    before = kept.read_text()
    assert smoke(store, name, "--figure") == 0
    assert not re.search(r": [1-9]\d* cells run", capsys.readouterr().err)
    # Words and lines may stand elsewhere than they did; what is measured may not change.
    old, new = before, re.sub(r"\n  (Def over none|note: ).*", "", kept.read_text())
    assert len(numbers(old)) > 10 or name == "frequency_analysis"
    assert sorted(numbers(new)) == sorted(numbers(old))
    if name == "frequency_analysis":
        assert re.findall(r"\d+\.\d+", new) == re.findall(r"\d+\.\d+", old)


def test_a_stored_search_goes_on_where_a_cell_lacks(store, capsys):
    files = sorted(Path(store.root.uri).glob("rows/study=qtable_search/*/*.parquet"))
    before = results.load("qtable_search", store=store.root)
    files[0].unlink()
    assert smoke(store, "qtable_search") == 0
    assert re.findall(r": ([1-9]\d*) cells run", capsys.readouterr().err) == ["1"]
    after = results.load("qtable_search", store=store.root)
    key = ["subject", "image", "table"]
    pd.testing.assert_frame_equal(*(
        rows.astype({"subject": str, "table": str}).sort_values(key)[[*key, "label"]]
        .reset_index(drop=True)
        for rows in (before, after)
    ))  # fmt: skip


def test_a_stored_tuning_study_is_the_one_that_is_asked_for(store):
    job = importlib.import_module("jobs.ensemble_tune")
    argv = ["--smoke", *SMOKE_THEN["ensemble_tune"]]
    asked = parse(job.Asked, name="", question="", argv=argv, smoke=job.JOB.smoke)
    begun = {"objectives": {"adversarial images right, fewer members first": "maximize"}}
    ensembles, tuning = job.ask(Lab(Here(store, stored_only=True), asked), asked, begun)
    folder = Path(store.root.uri) / store.folder("ensemble_tune", ensembles.sweep)
    cells = {path.stem for path in folder.glob("*.parquet")}
    settings = [dict(tuning.starts[0]) | {"sigma_255": sigma} for sigma in asked.sigma_255]
    assert cells == {cell_id(ensembles, setting) for setting in settings}


def cell_id(ensembles: Ensembles, setting: Setting) -> str:
    cell = ensembles._subsets_cell(setting)
    return results.schema.cell_id("ensemble_tune", 1, cell)


def test_the_archive_holds_single_files_and_compacted_ones(store):
    kinds = {path.name.startswith("compact-") for path in Path(store.root.uri).glob("rows/*/*/*")}
    assert kinds == {True, False}
