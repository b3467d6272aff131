"""Every example and every Python snippet of the README runs with the wheel, among foreign names.

They run in a folder that holds a `core`, `search` and `results` of the user's own.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tuners
from PIL import Image

import core.attacks
import qtable_sweeps.attacks

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
SEARCH = shlex.split(
    "--here --patterns 3 --qs-af 51,121 --epochs 2 --benign 20 --adversarial 10 "
    "--report-benign 10 --report-adversarial 5 --max-decline 100"
)

# What a user would do in that folder, one after the other in one process: torch is slow to load.
DRIVER = """
import contextlib, io, json, runpy, sys, warnings
from pathlib import Path

sys.path[0] = ""  # as of a script, or an interpreter, in this folder
asked = json.loads(Path("asked.json").read_text())
said = {}

def run(name, *arguments):
    out = io.StringIO()
    sys.argv = [name, *arguments]
    with contextlib.redirect_stdout(out):
        runpy.run_path(f"{name}.py", run_name="__main__")
    said[name] = out.getvalue()

run("own_folder", "images", *asked["flags"])
(answer,) = Path("results/out/answers").iterdir()
run("rows_in_pandas", answer.name, "k3-of16-af51", "k3-of16-af121")
run("own_model")
run("foreign_attack")
run("optuna_study", asked["journal"])

import torch
from qtable_sweeps import codec, data, models
from qtable_sweeps.defences import Ensemble
from qtable_sweeps.core.defences.ensemble import Member

model, (images, labels) = models.demo(), data.open_data("digits").batch("report", range(4))
Ensemble([Member("M", model, codec.qtable.uniform(16))]).save("ensemble.safetensors")
Path("winner.qtable.txt").write_bytes((answer / "winner.qtable.txt").read_bytes())
names = {"model": model, "images": images, "labels": labels, "torch": torch}
names["pixels"] = codec.to_pixels(images)
for snippet in asked["snippets"]:
    exec(snippet.replace("SWEEP", answer.name), names)
said["snippets"] = [len(names["classes"]), len(names["logits"])]

from qtable_sweeps.search.cluster import shipping

said["shipped"] = shipping.shipped(Path("ship"))

import core, results, search  # the user's own
said["own"] = [core.OWN, results.OWN, search.OWN]
said["paths"] = sorted({str(getattr(m, "__file__", "")) for m in sys.modules.values()})
Path("said.json").write_text(json.dumps(said))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of these sources, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    copied = shutil.ignore_patterns(".*", "tests", "docs", "out", "build", "*.egg-info")
    shutil.copytree(ROOT, folder / "sources", ignore=copied)
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run(
        [sys.executable, "-c", code], cwd=folder / "sources", check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    zipfile.ZipFile(built).extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def done(tmp_path_factory, wheel) -> tuple[Path, dict]:
    """The folder after all examples ran there, and what each printed."""
    folder, chance = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for label, top in (("bright", 220), ("dark", 90)):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(80):
            levels = chance.integers(top - 80, top, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(levels).save(folder / "images" / label / f"{i}.png")
    for own in ("core/__init__.py", "results.py", "search.py"):
        (folder / own).parent.mkdir(exist_ok=True)
        (folder / own).write_text("OWN = True\n")
    for example in EXAMPLES:
        shutil.copy(example, folder)
    tuners.drive(folder, until=4)
    asked = {"flags": SEARCH, "snippets": SNIPPETS, "journal": str(folder / "tuning" / "t.journal")}
    (folder / "asked.json").write_text(json.dumps(asked))
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder, json.loads((folder / "said.json").read_text())


def test_they_are_short():
    assert len(EXAMPLES) == 5
    assert all(len(path.read_text().splitlines()) < 40 for path in EXAMPLES)


def test_a_folder_of_images_ends_in_a_picture_as_the_model_sees_it(done):
    with Image.open(done[0] / "seen.png") as seen:
        assert seen.size == (32, 32)


def test_rows_are_counted_as_the_answer_counts_them(done):
    (answer,) = (done[0] / "results/out/answers").iterdir()
    printed = done[1]["rows_in_pandas"]
    surface = pd.read_parquet(answer / "surface.parquet")
    for line in surface.itertuples():
        assert re.search(rf"{line.table} +{line.def_all:.1f} +{line.acc_dec:.1f}\n", printed)
    assert "McNemar p" in printed


@pytest.mark.parametrize("name", ["own_model", "foreign_attack"])
def test_attacks_cost_accuracy_and_a_table_brings_some_back(name, done):
    counts = [int(n) for n in re.findall(r"(\d+) of 40", done[1][name])]
    assert len(counts) == {"own_model": 9, "foreign_attack": 4}[name]
    assert min(counts) < 34 < max(counts)


def test_a_tuning_study_is_read_and_plotted(done):
    assert "plots of sigma_255, qs_af" in done[1]["optuna_study"]
    assert len(list(done[0].glob("plot_*.png"))) == 2


def test_the_readmes_snippets_run(done):
    assert len(SNIPPETS) == 5
    assert done[1]["snippets"] == [4, 4]


def test_the_users_own_modules_and_the_wheels_live_side_by_side(done, wheel):
    assert done[1]["own"] == [True] * 3
    ours = [path for path in done[1]["paths"] if path.startswith(str(wheel))]
    assert f"{wheel}/qtable_sweeps/results/query.py" in ours
    assert not [path for path in done[1]["paths"] if path.startswith(str(ROOT / "core"))]


def test_workers_are_sent_the_one_package(done):
    assert done[1]["shipped"] == ["ship/qtable_sweeps"]
    code = "import qtable_sweeps.search.engine.task as t; print(t.__file__)"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=done[0] / "ship",
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == f"{done[0]}/ship/qtable_sweeps/search/engine/task.py"


def test_a_wheel_holds_one_package_that_is_typed_and_says_commands_that_it_has(wheel):
    assert [p.name for p in wheel.iterdir() if p.suffix != ".dist-info"] == ["qtable_sweeps"]
    assert (wheel / "qtable_sweeps" / "py.typed").exists()
    short = r"^\s*(from|import) (core|jobs|results|search)\b"
    for name in ("core", "jobs", "results", "search"):
        for source in (ROOT / name).rglob("*.py"):
            text = (wheel / "qtable_sweeps" / source.relative_to(ROOT)).read_text()
            assert not re.search(short, text, re.MULTILINE), source
            assert not re.search(r"python (-m (search|results)\b|jobs/)", text), source


def test_a_clone_names_what_stands_before_its_folders(tmp_path):
    (tmp_path / "results.py").write_text("")
    ran = subprocess.run(
        [sys.executable, "-c", "import qtable_sweeps"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "another 'results' stands before that of qtable-sweeps" in ran.stderr
    assert f"pip install {ROOT}" in ran.stderr


def test_the_public_names_are_those_of_the_layers():
    assert qtable_sweeps.attacks.pgd is core.attacks.pgd
    assert set(qtable_sweeps.__all__) <= {
        n for n in qtable_sweeps.__all__ if getattr(qtable_sweeps, n)
    }
