"""Scoring defences: cells against a plain loop, rows to accuracies, the colour-space answer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from core import seeds
from core.defences import defence_by_name
from results import defended as answers
from results.stats import wilson
from search import defended
from search.inputs import loading

ROOT = Path(__file__).parent.parent
NAMES = ("none", "uniform40@rgb", "uniform40@ycbcr420", "smooth8")
STEPS = {(space, step): f"{space}{step}" for space in ("rgb", "ycbcr") for step in (5, 10, 20)}


@pytest.fixture(scope="module")
def inputs() -> tuple[loading.Images, nn.Module]:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (70, 3, 4, 4), generator=generator).float()
    images = nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear").byte()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 9)).eval()
    ids = torch.randperm(70, generator=generator) + 100
    labels = torch.randint(0, 9, (70,), generator=generator)
    with torch.inference_mode():
        undefended = network(images / 255).argmax(1)
    return loading.Images(images, labels, ids, undefended), network


def cell(**changes) -> defended.Cell:
    fields = {
        "data": "photos", "side": 16, "fingerprint": "f", "model": "m", "seed": 3,
        "precision": "fp32", "weights": "w", "attack": "fgsm", "eps_255": 2.0, "split": "search",
        "subject": "benign", "piece": "p", "first": 0, "count": 70, "defences": NAMES,
    }  # fmt: skip
    return defended.Cell(**(fields | changes))


def test_rows_are_those_of_one_image_at_a_time(inputs):
    images, network = inputs
    columns = defended.evaluate(cell(), inputs)
    expected = []
    with torch.inference_mode():
        for name in NAMES:
            defence = defence_by_name(name)
            for i in range(70):
                draw = [seeds.generator(3, int(images.ids[i]))]
                pixels = defence(images.images[i : i + 1] / 255, draw)
                where = (name, int(images.ids[i]), int(images.labels[i]))
                expected.append((*where, int(network(pixels).argmax())))
    names = ("defence", "image", "label", "predicted")
    found = list(zip(*(np.asarray(columns[n]).tolist() for n in names), strict=True))
    assert found == expected
    assert len({tuple(columns["predicted"][k * 70 : k * 70 + 70]) for k in range(4)}) > 1
    assert columns["undefended"].tolist() == columns["predicted"][:70].tolist() * 4


def test_benign_and_attacked_images_meet_the_same_draw(inputs):
    benign = defended.evaluate(cell(), inputs)
    attacked = defended.evaluate(cell(subject="adversarial"), inputs)
    np.testing.assert_array_equal(benign["predicted"], attacked["predicted"])


def rows(right: dict[tuple[str, str], int]) -> pd.DataFrame:
    """40 images behind each defence, so many of them right."""
    lines = [
        {"defence": defence, "subject": subject, "image": i, "label": 1,
         "predicted": int(i < n)}
        for (defence, subject), n in right.items()
        for i in range(40)
    ]  # fmt: skip
    return pd.DataFrame(lines)


@pytest.fixture
def counted() -> dict[tuple[str, str], int]:
    right = {("none", "benign"): 30, ("none", "adversarial"): 4}
    benign = {"rgb": (30, 29, 20), "ycbcr": (28, 27, 10)}
    for space, losses in benign.items():
        for step, n, k in zip((5, 10, 20), losses, (10, 12, 39), strict=True):
            right[f"{space}{step}", "benign"] = n
            right[f"{space}{step}", "adversarial"] = k
    return right


def test_accuracies_are_counts_with_wilsons_limits(counted):
    lines = answers.accuracies(pd.concat([rows(counted), rows(counted)]))  # measured twice
    for line in lines.itertuples():
        n_right = counted[line.defence, line.subject]
        assert (line.n, line.n_right) == (40, n_right)
        low, high = wilson(n_right, 40)
        assert (line.accuracy, line.low, line.high) == pytest.approx(
            (2.5 * n_right, 100 * float(low), 100 * float(high))
        )


def test_measurements_that_disagree_are_named(counted):
    one = rows(counted)
    other = one.assign(predicted=1 - one["predicted"])
    with pytest.raises(ValueError, match="measured twice"):
        answers.accuracies(pd.concat([one, other]))


def test_the_answer_names_the_best_step_within_the_limit(counted):
    lines = answers.accuracies(rows(counted))
    # One image of 40 is 2.5 points: below 3 points RGB may lose one, YCbCr loses two or more.
    text = answers.space_text(lines, STEPS, 3.0)
    assert re.search(r"RGB +step +10: benign +72\.5 .* adversarial +30\.0 ", text)
    assert "YCbCr 4:4:4  none: every step loses more" in text
    assert "adversarial  10.0 [" in text.splitlines()[0]


def test_the_picture_shows_the_accuracies(counted):
    lines = answers.accuracies(rows(counted))
    adversarial, benign, pair = answers.space_curves(lines, STEPS, title="").axes
    assert adversarial.lines[0].get_xdata().tolist() == [5, 10, 20]
    assert adversarial.lines[0].get_ydata().tolist() == [25, 30, 97.5]
    assert benign.lines[1].get_ydata().tolist() == [70, 67.5, 25]
    assert pair.lines[0].get_xdata().tolist() == [75, 72.5, 50]


def job(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs/color_space.py"), *flags],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_gray_images_have_no_colour_spaces(tmp_path):
    done = job("--store", str(tmp_path))
    assert done.returncode == 2
    assert "digits is gray" in done.stderr
    assert "Hint:" in done.stderr
