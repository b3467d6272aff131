"""The README says what the code prints."""

import re
from pathlib import Path

import pytest

from jobs import qtable_search
from search import main

README = (Path(__file__).parent.parent / "README.md").read_text()
NEAR = ["--patterns", "2-4", "--qs-af", "106-121/5"]  # the winner and its neighbours


@pytest.mark.parametrize("part", [NEAR, pytest.param([], marks=pytest.mark.soak)])
def test_the_demos_answer_is_the_readmes_count_for_count(part, tmp_path, capsys):
    flags = ["--eps-255", "8", "--here", "--store", str(tmp_path), *part]
    assert main(qtable_search.JOB, flags) == 0
    printed = capsys.readouterr().out
    (block,) = re.findall(r"```\n(digits 32 px, .*?)\n```", README, re.DOTALL)
    if part:  # fewer tables tie
        block, printed = (re.sub(r"\n *(feasible|tied) .*", "", text) for text in (block, printed))
    assert printed.startswith(f"{block}\n")
