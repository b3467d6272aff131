"""Every example runs, and so does every Python snippet of the README."""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import tuners
from PIL import Image

from core import codec
from core.codec import qtable
from core.data import open_data
from core.defences.ensemble import Ensemble, Member
from core.models import load_checkpoint
from search.inputs import networks

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SEARCH = shlex.split(
    "--here --patterns 3 --qs-af 51,121 --epochs 2 --benign 20 --adversarial 10 "
    "--report-benign 10 --report-adversarial 5 --max-decline 100"
)


def run(name: str, *arguments: object) -> None:
    path = str(ROOT / "examples" / f"{name}.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [path, *map(str, arguments)])
        runpy.run_path(path, run_name="__main__")


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """A folder whose store holds a table search over images of two classes."""
    folder, chance = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    for label, top in (("bright", 220), ("dark", 90)):
        (folder / "images" / label).mkdir(parents=True)
        for i in range(80):
            levels = chance.integers(top - 80, top, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(levels).save(folder / "images" / label / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("own_folder", folder / "images", *SEARCH)
    return folder


def test_they_are_short():
    assert len(EXAMPLES) == 5
    assert all(len(path.read_text().splitlines()) < 40 for path in EXAMPLES)


def test_a_folder_of_images_ends_in_a_picture_as_the_model_sees_it(searched):
    with Image.open(searched / "seen.png") as seen:
        assert seen.size == (32, 32)


def test_rows_are_counted_as_the_answer_counts_them(searched, monkeypatch, capsys):
    monkeypatch.chdir(searched)
    (answer,) = Path("results/out/answers").iterdir()
    run("rows_in_pandas", answer.name, "k3-of16-af51", "k3-of16-af121")
    printed = capsys.readouterr().out
    surface = pd.read_parquet(answer / "surface.parquet")
    for line in surface.itertuples():
        assert re.search(rf"{line.table} +{line.def_all:.1f} +{line.acc_dec:.1f}\n", printed)
    assert "McNemar p" in printed


@pytest.mark.parametrize("name", ["own_model", "foreign_attack"])
def test_attacks_cost_accuracy_and_a_table_brings_some_back(name, capsys):
    run(name)
    counts = [int(n) for n in re.findall(r"(\d+) of 40", capsys.readouterr().out)]
    assert len(counts) == {"own_model": 9, "foreign_attack": 4}[name]
    assert min(counts) < 34 < max(counts)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_tuning_study_is_read_and_plotted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tuners.drive(tmp_path, until=4)
    run("optuna_study", tmp_path / "tuning" / "t.journal")
    assert "plots of sigma_255, qs_af" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_the_readmes_snippets_run(searched, monkeypatch):
    monkeypatch.chdir(searched)
    (answer,) = Path("results/out/answers").iterdir()
    model = load_checkpoint(networks.SHIPPED)
    images, _ = open_data("digits").batch("report", range(4))
    Ensemble([Member("M", model, qtable.uniform(16))]).save("ensemble.safetensors")
    (searched / "winner.qtable.txt").write_bytes((answer / "winner.qtable.txt").read_bytes())
    names = {"model": model, "images": images, "pixels": codec.to_pixels(images), "torch": torch}
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(snippets) == 5
    for snippet in snippets:
        exec(snippet.replace("SWEEP", answer.name), names)
    assert len(names["classes"]) == len(names["logits"]) == 4
