"""The table search over bands of the measured ratio, end to end against plain loops."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.fft
import torch

import results
from core import codec
from core.codec import qtable
from jobs import qtable_search
from results.files import Root
from search import Lab
from search.engine.bank import Bank
from search.engine.engine import Engine
from search.flags import parse
from search.inputs import loading

ROOT = Path(__file__).resolve().parent.parent
SIZES = {2: 3, 5: 15}
STEPS = (1, 61, 121)
FLAGS = [
    "--epochs", "3", "--patterns", "2,5", "--qs-af", "1,61,121", "--benign",
    "120", "--adversarial", "50", "--report-benign", "70", "--report-adversarial", "30",
    "--block", "32", "--eps-255", "20", "--max-decline", "5",
]  # fmt: skip


def run(store: Path, *flags: str) -> subprocess.CompletedProcess:
    job = str(ROOT / "jobs/qtable_search.py")
    command = [sys.executable, job, *FLAGS, "--bands", "measured", "--here", "--store", str(store)]
    done = subprocess.run(
        [*command, *flags], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    store = tmp_path_factory.mktemp("searched")
    return store, run(store)


def question(store: Path, *flags: str, bands: str = "measured") -> qtable_search.Question:
    words = [*FLAGS, "--bands", bands, *flags]
    asked = parse(qtable_search.Asked, name="", question="", argv=words)
    engine = Engine(results.Store(Root(store)), stored_only=True)
    return qtable_search.ask(Lab(engine, asked), asked)


def rows_of(store: Path, *flags: str) -> pd.DataFrame:
    return results.load("qtable_search", sweep=question(store, *flags).sweep, store=store)


def images_of(store: Path) -> dict[str, loading.Images]:
    """The search's images, benign and adversarial."""
    made = question(store).of("search")
    return {p.subject: loading.images_of(Bank(Root(store)), p.name) for p in made}


def plain_deviation(planes: np.ndarray) -> np.ndarray:
    """Of [n, h, w] planes, h and w multiples of 8, block by block."""
    found = [
        scipy.fft.dctn(picture[top : top + 8, left : left + 8], norm="ortho")
        for picture in planes
        for top in range(0, planes.shape[1], 8)
        for left in range(0, planes.shape[2], 8)
    ]
    return np.std(found, axis=0)


def plain_masks(images: dict[str, loading.Images]) -> dict[int, np.ndarray]:
    """The bands by definition: by pattern, the coefficients of smallest ratio."""
    attacked = images["adversarial"]
    benign = dict(zip(images["benign"].ids.tolist(), images["benign"].images, strict=True))
    before = np.stack([benign[image][0].numpy() for image in attacked.ids.tolist()]).astype(float)
    noise = attacked.images[:, 0].numpy() - before
    ratio = plain_deviation(noise) / plain_deviation(before)
    assert np.diff(np.sort(ratio.ravel())).min() > 1e-5  # clear ranks: roundings change none
    order = np.argsort(ratio.ravel())
    masks = {k: np.zeros(64, dtype=bool) for k in SIZES}
    for k, size in SIZES.items():
        masks[k][order[:size]] = True
    return {k: mask.reshape(8, 8) for k, mask in masks.items()}


def test_every_outcome_is_that_of_a_plain_slow_loop(searched):
    store, _ = searched
    images, rows = images_of(store), rows_of(store)
    network = loading.classifier_of(Bank(Root(store)), question(store).weights, "cpu", "fp32")
    n_checked = 0
    for k, mask in plain_masks(images).items():
        digits = np.packbits(mask).tobytes().hex()
        for step in STEPS:
            table = torch.from_numpy(np.where(mask, 16.0, float(step)))
            for subject, shown in images.items():
                with torch.no_grad():
                    predicted = network(codec.compress(shown.images / 255, table)).argmax(1)
                ours = rows[
                    (rows["table"] == f"m{digits}-of16-af{step}") & (rows["subject"] == subject)
                ].set_index("image")
                assert ours.loc[shown.ids.tolist(), "predicted"].tolist() == predicted.tolist()
                assert set(ours["pattern"]) == {k}
                assert (set(ours["qs_of"]), set(ours["qs_af"])) == ({16}, {step})
                n_checked += len(ours)
    assert n_checked == len(rows) == 6 * 170


def test_the_answer_names_the_winner_and_what_its_band_shares(searched):
    store, done = searched
    best = results.winner(rows_of(store), max_decline_points=5)
    assert f"{best.table}: n_OF {SIZES[best.pattern]}" in done.stdout
    diagonal = np.add.outer(np.arange(8), np.arange(8)) < best.pattern
    n_shared = int((plain_masks(images_of(store))[best.pattern] & diagonal).sum())
    assert f"band             {n_shared} of {SIZES[best.pattern]} OF coefficients" in done.stdout
    sweep = question(store).sweep
    assert "measured" in sweep
    answers = store / "answers" / sweep
    assert len(pd.read_parquet(answers / "surface.parquet")) == 6
    assert best.table in set(pd.read_parquet(answers / "report.parquet")["table"])
    exported = qtable.load(answers / "winner.qtable.txt")
    assert torch.equal(exported, qtable.by_name(best.table))


def test_a_finished_search_redraws_the_same_and_goes_on_where_cells_lack(searched):
    store, first = searched
    answers = store / "answers" / question(store).sweep
    before = {path.name: path.read_bytes() for path in answers.iterdir()}
    again = run(store, "--figure")
    assert again.stdout == first.stdout
    assert "Ray ready" not in again.stderr
    assert {path.name: path.read_bytes() for path in answers.iterdir()} == before
    lost = sorted((store / "rows/study=qtable_search").rglob("*.parquet"))[::3]
    lost += sorted((store / "rows/study=frequency_analysis").rglob("*.parquet"))[::2]
    for path in lost:
        path.unlink()
    resumed = run(store)
    assert resumed.stdout == first.stdout
    assert "frequencies: 1 cells run" in resumed.stderr
    assert f"table search: {len(lost) - 1} cells run" in resumed.stderr


def test_best_first_finds_the_same_winner(searched):
    store, _ = searched
    done = run(store, "--strategy", "best-first")
    best = results.winner(rows_of(store), max_decline_points=5)
    assert f"winner           {best.table}: n_OF" in done.stdout
    few = rows_of(store, "--strategy", "best-first")
    assert set(few["table"]) == set(rows_of(store)["table"])  # the first cell is of all six
    keys = ["subject", "image", "table"]
    both = few.merge(rows_of(store), on=keys, suffixes=("", "_exhaustive"))
    assert 0 < len(both) == len(few)
    assert (both["predicted"] == both["predicted_exhaustive"]).all()


def test_diagonals_are_another_sweep_of_the_same_images(searched):
    store, _ = searched
    measured, diagonal = question(store), question(store, bands="diagonal")
    assert diagonal.weights == measured.weights
    assert "measured" not in diagonal.sweep
    names = [[table.name for row in asked.tables() for table in row] for asked in (
        diagonal, measured)]  # fmt: skip
    assert names[0] == [f"k{k}-of16-af{step}" for k in SIZES for step in STEPS]
    assert len(names[1]) == len(names[0])
    assert not set(names[0]) & set(names[1])
