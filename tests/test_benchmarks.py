"""Benchmarks start as their docs say: `python benchmarks/NAME.py`, in a clone, with no path set."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "benchmarks").glob("*.py"))
OURS = {"core", "jobs", "results", "search"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_benchmark_finds_the_clone_before_it_imports_of_it(path):
    names = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    tops = [str(name).partition(".")[0] for name in names]
    shadowed = [i for i, name in enumerate(tops) if name in OURS - {"core"}]
    if shadowed:
        assert {"begin", "common"} & {*tops[: shadowed[0]]}


def test_the_folder_of_figures_does_not_hide_the_package_results():
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "benchmarks/white_box.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--no-costs" in done.stdout


def test_every_benchmark_finds_what_it_imports():
    code = f"import {', '.join(path.stem for path in FILES)}"
    env = os.environ | {"PYTHONPATH": str(ROOT / "benchmarks")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("scale.py", "--cells", "20"),
        ("sweep_over_forwards.py", "--benign", "20", "--adversarial", "5", "--report-benign", "10",
         "--report-adversarial", "5", "--patterns", "2", "--qs-af", "1,61", "--block", "25"),
        ("best_first.py", "--benign", "20", "--adversarial", "5", "--report-benign", "10",
         "--report-adversarial", "5", "--patterns", "2", "--qs-af", "1,61"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_benchmark_in_small_comes_to_its_claim(words, tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / words[0]), *words[1:]]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert re.search("^(ok  |MISS) ", done.stdout, re.MULTILINE), done.stderr
