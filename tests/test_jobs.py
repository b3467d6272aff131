"""Every job with --smoke: it answers, and answers the same from stored rows, running nothing.

The jobs run in this process, without Ray, and a job finds the networks that those before it
trained. `test_table_search` runs the search's command as users do.
"""

import dataclasses
import importlib
import re
import shutil
from pathlib import Path

import pytest
from opened import picture

import results
from core.known import MEMBERS
from search import flags, main
from search.job import EXIT_INPUT

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = {"qtable_search": "test_table_search.py", "ensemble_tune": "test_ensembles.py"}
# Studies of networks, beside the classifier, that see the training split.
TRAINED = ("chain", "training", "training_curves", "augmented", "denoiser", "codec")
JOBS = sorted(path.stem for path in (ROOT / "jobs").glob("[!_]*.py"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.mark.parametrize("name", [name for name in JOBS if name not in ELSEWHERE])
def test_smoke_answers_and_stored_rows_answer_the_same(name, tmp_path, capsys, trained):
    job = importlib.import_module(f"jobs.{name}").JOB
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)

    def run(*flags: str) -> tuple[str, str]:
        code = main(job, ["--smoke", "--here", "--store", str(tmp_path), *flags])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out, said.err

    found = set(tmp_path.glob("rows/*"))
    first, told = run()
    made = {path.name.partition("=")[2] for path in set(tmp_path.glob("rows/*")) - found}
    asked = flags.parse(job.asked, name=name, question="", argv=["--smoke"], smoke=job.smoke)
    assert job.trains(asked) or made.isdisjoint(TRAINED)
    (written,) = (path.read_text() for path in tmp_path.glob("answers/*/answer.txt"))
    assert first.startswith(written)
    assert [line for line in written.splitlines() if len(line) > 80] == []
    assert re.search(r"\d\.\d|\d \[\d", first)  # a measured number
    (verdict,) = (path.read_text() for path in tmp_path.glob("answers/*/verdict.txt"))
    assert re.fullmatch(r"a smoke run, too few images [a-z ]+: .*\d.*\n", verdict)
    assert len(verdict) < 400
    assert not re.search(r"\bnan\b|-0\.0\b", verdict)
    assert re.search(r": [1-9]\d* cells run", told)
    for folder in ("bank", "rows/study=classifier", "rows/study=chain"):
        if (tmp_path / folder).exists():
            shutil.copytree(tmp_path / folder, trained / folder, dirs_exist_ok=True)
    pictures = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    again, told = run("--figure")
    assert again == first
    assert not re.search(r": [1-9]\d* cells run", told)
    assert pictures == {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert not list(tmp_path.glob("training/*"))
    if (tmp_path / "rows" / "study=chain").exists():
        rows = results.load("chain", store=tmp_path)
        assert len(rows)
        for _, chain in rows.groupby(["sweep", "cell_id"], observed=True):
            assert chain["member"].astype(str).tolist() == list(MEMBERS[1:])


@pytest.mark.parametrize("name", JOBS)
def test_what_trains_says_that_training_images_lack_before_anything_runs(name, tmp_path, capsys):
    for label in ("a", "b"):
        for i in range(8):
            picture(tmp_path / "folder" / "val" / label / f"{i}.png", level=30 * i)
    job = importlib.import_module(f"jobs.{name}").JOB
    words = ["--data", f"imagefolder:{tmp_path}/folder", "--side", "32", "--here"]
    asked = flags.parse(job.asked, name=name, question="", argv=words)
    if job.trains(asked):
        assert main(job, [*words, "--store", str(tmp_path / "store")]) == EXIT_INPUT
        said = capsys.readouterr().err
        assert f"expected training images in 'imagefolder:{tmp_path}/folder', found 0" in said
        assert "cells" not in said


@pytest.mark.parametrize("name", JOBS)
def test_a_flag_of_two_parents_has_the_default_that_python_takes(name):
    job = importlib.import_module(f"jobs.{name}").JOB
    fields = {field.name: field.default for field in dataclasses.fields(job.asked)}
    assert fields == {name: getattr(job.asked, name) for name in fields}
