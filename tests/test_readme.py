"""The README says what the code prints."""

import re
from pathlib import Path

import pytest

from jobs import qtable_search
from search import main

README = (Path(__file__).parent.parent / "README.md").read_text()
COUNTED = r"\n *(feasible|tied|tables) .*"  # of all tables, or of those that best-first measured


def answer_of(store: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What the demo prints, but where its files are."""
    asked = ["--eps-255", "8", "--here", "--store", str(store), *flags]
    assert main(qtable_search.JOB, asked) == 0
    printed = capsys.readouterr().out
    return printed[: printed.index("\n      rows ")]


@pytest.fixture(scope="module")
def shown() -> str:
    (block,) = re.findall(r"```\n(digits 32 px, .*?)\n```", README, re.DOTALL)
    return block


def test_the_demos_answer_is_the_readmes_count_for_count(shown, tmp_path, capsys):
    assert answer_of(tmp_path, capsys, "--strategy", "best-first") == shown


@pytest.mark.soak
def test_so_is_that_of_all_tables(shown, tmp_path, capsys):
    of_all = answer_of(tmp_path, capsys)
    assert "350 of 350 tables" in of_all
    assert "tied             25 of them" in of_all
    assert re.sub(COUNTED, "", of_all) == re.sub(COUNTED, "", shown)
