"""Somebody else's store, which takes no files, can be asked; nobody needs to read the answer."""

import errno
import os
import sys
from pathlib import Path

import pytest
from stored import rows_of

from results import Answer, Store
from results.__main__ import main as results_main
from results.files import Root, denied
from search import flags
from search.job import EXIT_INPUT, Job, main

NO_FILES = (
    PermissionError(errno.EACCES, "Permission denied", "x"),
    OSError(errno.EROFS, "Read-only file system", "x"),
    OSError("When initiating multiple part upload: AWS Error ACCESS_DENIED"),
)


def answered(lab, _):
    lab.answers(("s", "w"))
    return Answer(text="42 of 43")


JOB = Job(str(Path(__file__)), "What is it?", flags.Flags, answered, smoke="")


@pytest.fixture
def store(tmp_path) -> Path:
    Store(Root(tmp_path)).write("s", "w", rows_of(0))
    return tmp_path


def takes_none(monkeypatch, error):
    def write(*_):
        raise error

    monkeypatch.setattr(Root, "write", write)


@pytest.mark.parametrize("error", NO_FILES, ids=str)
def test_a_figure_from_a_store_that_takes_no_files_is_told_all_the_same(
    store, error, monkeypatch, capsys
):
    takes_none(monkeypatch, error)
    assert main(JOB, ["--here", "--store", str(store), "--figure"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("42 of 43\n")
    assert f"note: {store} takes no files, so the answer's are not written" in out
    assert main(JOB, ["--here", "--store", str(store)]) == EXIT_INPUT
    assert capsys.readouterr().out.startswith("42 of 43\n")


def test_a_full_disk_is_no_refusal(store, monkeypatch):
    takes_none(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "x"))
    assert main(JOB, ["--here", "--store", str(store), "--figure"]) == EXIT_INPUT
    assert not denied(OSError(errno.ENOSPC, "No space left on device"))


def test_the_report_of_a_store_that_takes_no_files_goes_elsewhere(store, monkeypatch, capsys):
    takes_none(monkeypatch, NO_FILES[1])
    to = store / "page.html"
    assert results_main(["--store", str(store), "report", "--out", str(to)]) == 0
    assert to.read_bytes().lstrip().startswith(b"<!doctype html>")
    assert results_main(["--store", str(store), "report"]) == 2
    assert "takes no files.\nHint: --out report.html" in capsys.readouterr().err


def test_a_reader_who_has_gone_costs_no_file_of_the_answer(store, monkeypatch):
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(JOB, ["--here", "--store", str(store)]) == 0
    assert (store / "answers/w/answer.txt").read_text() == "42 of 43\n"
