"""The README says what the code prints, and pages show commands that the programs take."""

import contextlib
import importlib
import itertools
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ray.scripts.scripts import cli as ray

from jobs import qtable_search
from results.__main__ import command_line as results_line
from search import flags, main
from search.__main__ import command_line as search_line

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COUNTED = r"\n *(feasible|tied|tables) .*"  # of all tables, or of those that best-first measured
PAGES = ["README.md", "docs/cluster.md", "docs/slurm.md"]
THEIRS = {".", "$EDITOR", "aws", "chmod", "do", "done", "for", "optuna-dashboard", "sbatch", "tail"}


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
    (verdict,) = tmp_path.glob("answers/*/verdict.txt")
    assert verdict.read_text() == (
        "k3-of16-af116: 84.0 to 96.5 % right under fgsm eps 8/255 for 0.2 points of benign "
        "accuracy, held out, p 6e-08\n"
    )


@pytest.mark.soak
def test_so_is_that_of_all_tables(shown, tmp_path, capsys):
    of_all = answer_of(tmp_path, capsys)
    assert "350 of 350 tables" in of_all
    assert "tied             25 of them" in of_all
    assert re.sub(COUNTED, "", of_all) == re.sub(COUNTED, "", shown)


def commands(text: str) -> list[list[str]]:
    """The words of each command in a page's shell blocks, without the variables that they set."""
    blocks = re.findall(r"^```(.*)\n((?s:.*?))^```$", text, re.MULTILINE)
    shell = [block for language, block in blocks if not language and "held-out report" not in block]
    lines = "\n".join(shell).replace("\\\n", " ").replace(" && ", "\n").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    found = [[*itertools.dropwhile(re.compile("[A-Z_]+=").match, words)] for words in found]
    return [words for words in found if words]


def check(words: list[str]) -> None:
    """Parse a command, and that of a job behind it, as those programs do.

    SystemExit or an exception where one would refuse it.
    """
    jobs = [i for i, word in enumerate(words) if re.fullmatch(r"(\S*/)?jobs/\w+\.py", word)]
    for i in jobs:
        name, given = Path(words[i]).stem, words[i + 1 :]
        job = importlib.import_module(f"jobs.{name}").JOB
        argv = given[1:] if given[:1] == ["--"] else given
        flags.parse(job.asked, name=name, question="", argv=argv, smoke=job.smoke)
    program, rest = words[0].rpartition("/")[2], words[1:]
    if program == "python" and rest[0] == "-m":
        {"search": search_line, "results": results_line}[rest[1]]().parse_args(rest[2:])
    elif program == "python":
        assert jobs or (ROOT / rest[0]).is_file()
    elif program == "ray":
        command: Any = ray
        while hasattr(command, "commands"):
            command, *rest = command.commands[rest[0]], *rest[1:]
        command.make_context(program, rest)
    elif program == "make":
        assert re.search(f"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        wanted = re.findall(r"\[(.*)\]", rest[-1])
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert {*wanted} <= {*project["optional-dependencies"]}
    else:
        assert program in THEIRS


SHOWN = [words for page in PAGES for words in commands((ROOT / page).read_text())]
for path in sorted((ROOT / "jobs").glob("[!_]*.py")):  # and their own first lines
    text = path.read_text().replace("\\\n", " ")
    SHOWN += [shlex.split(line, comments=True) for line in re.findall("(?m)^    (python .*)", text)]


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_programs_take_the_commands_that_pages_show(words):
    with contextlib.suppress(SystemExit) if "--help" in words else contextlib.nullcontext():
        check(words)
