"""The frequency study on the command line: two cells, and the same answer from stored rows."""

import os
import re
import subprocess
import sys
from pathlib import Path

JOB = Path(__file__).parent.parent / "jobs" / "frequency_analysis.py"


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(JOB.parent.parent)}
    done = subprocess.run(
        [sys.executable, str(JOB), "--smoke", *flags],
        capture_output=True, text=True, timeout=600, check=False, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_smoke_answers_and_stored_rows_answer_the_same(tmp_path):
    first = run("--store", str(tmp_path))
    assert re.search(r"frequencies: 2 cells run", first.stderr)
    assert re.search(r"^Y +\d+\.\d+ +\d+\.\d+ ", first.stdout, re.MULTILINE)
    (picture,) = tmp_path.rglob("spectra.png")
    before = picture.read_bytes()
    again = run("--store", str(tmp_path), "--figure")
    assert again.stdout == first.stdout
    assert picture.read_bytes() == before
