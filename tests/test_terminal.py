"""A training, a sweep and an answer in a terminal: what stands on the screen, and what stays."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results.shown import show
from search.job import in_words

ROOT = Path(__file__).resolve().parent.parent
BAR = re.compile(r"\d+%\||cell/s|s/cell")
STAGE = re.compile(
    r"[a-z -]+: \d+ cells run in [\d.]+ s, \d+ were stored before, 0 failed"
    r"|Ray ready in [\d.]+ s: 1 nodes, \d+ CPUs, 0 GPUs; 1 CPU and 0 GPU a task"
    r"|lenet5: epoch \d/2: loss [\d.]+, \d+ of \d+ right, [\d.]+ s"
)
FILE = re.compile(r" +[a-z]+  store/\S+")
FLAGS = (
    "--store store --model lenet5 --epochs 2 --patterns 1-3 --qs-af 51,121 --benign 40 "
    "--adversarial 20 --report-benign 40 --report-adversarial 20 --block 20 --eps-255 8"
)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: make system")
@pytest.mark.parametrize(("width", "how"), [(80, ""), (120, "--here")])
def test_no_line_of_a_terminal_is_cut_or_overwritten(width, how, tmp_path):
    def tmux(*words: str) -> str:
        command = ["tmux", "-S", str(tmp_path / "socket"), "-f", "/dev/null", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    words = [*FLAGS.split(), *how.split()]
    search = shlex.join([sys.executable, str(ROOT / "jobs/qtable_search.py"), *words])
    (tmp_path / "run").write_text(f"{search}; echo ended $?; sleep 60\n")
    env = [f"-e{name}={os.environ.get(name, '')}" for name in ("PYTHONPATH", "OMP_NUM_THREADS")]
    size = ["-x", str(width), "-y", "50", "-c", str(tmp_path)]
    tmux("new-session", "-d", "-s", "w", *size, *env, "sh run")
    screens = [""]
    try:
        while "ended" not in screens[-1]:
            time.sleep(0.2)
            screens.append(tmux("capture-pane", "-p", "-J", "-t", "w"))
        said = tmux("capture-pane", "-p", "-J", "-S", "-", "-t", "w").rstrip()
    finally:
        tmux("kill-server")
    bars = [line for screen in screens for line in screen.splitlines() if BAR.search(line)]
    assert [
        line for line in bars if len(line.rstrip()) > width
    ] == []  # none that wraps onto the next line
    (answer,) = (path.read_text() for path in tmp_path.glob("store/answers/*/answer.txt"))
    before, whole, after = said.partition(answer)
    assert whole, said
    assert before.strip().splitlines()
    for line in [line.rstrip() for line in before.strip().splitlines()]:
        assert STAGE.fullmatch(line), said
        assert len(line) <= width
    *files, end = after.splitlines()
    assert end == "ended 0"
    assert len(files) == 6
    assert all(FILE.fullmatch(line.rstrip()) for line in files), said


def test_an_answer_that_its_file_does_not_take_is_not_the_stores_fault(monkeypatch):
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails too
    monkeypatch.setattr(sys, "stdout", full)
    with pytest.raises(OSError, match="No space") as error:
        show("44.5 %")
    monkeypatch.undo()
    with contextlib.suppress(OSError):
        full.close()
    said = in_words(error.value)
    assert said.startswith("standard output cannot be used: No space left on device\nHint: ")
    assert "--store" not in said
    assert "--store" in in_words(OSError(28, "No space left on device", "/x"))
