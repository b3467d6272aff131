"""One step towards every other class, against foolbox; how success is counted."""

import foolbox
import numpy as np
import pandas as pd
import pytest
import torch
from attacked import foolbox_of, noise_images, noise_labels, tiny_network
from foolbox.criteria import TargetedMisclassification

from results.stats import mean_interval
from results.targeted import counted
from search.inputs.loading import Images
from search.measures import targeted


def evaluated(eps_255: float):
    images, labels = noise_images(), noise_labels()
    block = Images(images, labels, 100 + torch.arange(len(images)), labels)
    cell = targeted.Cell(
        data="noise", side=16, fingerprint="", model="tiny", seed=0, precision="fp32", weights="",
        eps_255=eps_255, split="report", images="", first=0, count=len(images),
    )  # fmt: skip
    return targeted.STUDY.evaluate(cell, (block, tiny_network()))


@pytest.mark.parametrize("eps_255", [0.0, 4.0])
def test_every_other_class_is_tried_as_foolbox_does(eps_255):
    network, images, labels = tiny_network(), noise_images(), noise_labels()
    made = evaluated(eps_255)
    rows = pd.DataFrame(made.columns).assign(place=range(len(made.columns["image"])))
    assert len(rows) == 4 * len(images)
    attack = foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=1.0, steps=1, random_start=False)
    for target in range(5):
        own = rows[rows["target"] == target]
        picks = torch.tensor(own["image"].tolist()) - 100
        assert torch.equal(picks, (labels != target).nonzero().flatten())
        goal = TargetedMisclassification(torch.full_like(picks, target))
        pixels = images[picks] / 255
        theirs = attack.run(foolbox_of(network), pixels, goal, epsilon=eps_255 / 255)
        theirs = (255 * theirs).round()
        seen = made.tensors["images"][own["place"].tolist()]
        assert torch.equal(seen.float(), theirs)
        for x, name in ((images[picks] / 255, "before"), (theirs / 255, "after")):
            outputs = network(x).softmax(1)
            np.testing.assert_array_equal(own[name], outputs.argmax(1))
            np.testing.assert_allclose(own[f"p_{name}"], outputs[:, target], rtol=1e-4)


def test_success_is_counted_by_image_and_by_pair():
    # image, label, target, before, after: the third is wrong from the start
    tried = [(0, 0, 1, 0, 1), (0, 0, 2, 0, 1), (1, 1, 0, 1, 0), (1, 1, 2, 1, 2), (2, 2, 0, 1, 0)]
    rows = pd.DataFrame(tried, columns=["image", "label", "target", "before", "after"])
    pairs, lines = counted(rows.assign(eps_255=5.0), ("a", "b", "c"))
    found = {(p["source"], p["goal"]): p["n_reached"] for _, p in pairs.iterrows()}
    assert found == {("a", "b"): 1, ("a", "c"): 0, ("b", "a"): 1, ("b", "c"): 1}
    reached, moved = lines["accuracy"]
    assert (reached, moved) == (75.0, 100.0)  # of two images: a half and the whole
    assert set(lines["n"]) == {2}


def test_a_means_interval_is_the_textbooks():
    mean, low, high = mean_interval([1.0, 2.0, 6.0, 7.0])
    assert mean == 4.0
    # deviation sqrt(26 / 3), of the mean half of it, 1.96 of those
    assert (high - mean) == pytest.approx(1.959964 * (26 / 3) ** 0.5 / 2)
    assert (mean - low) == pytest.approx(high - mean)
