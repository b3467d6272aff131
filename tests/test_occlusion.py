"""Occlusion maps against a plain loop, and what lies on ink; layers against the report's counts."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from tiny import TinyData, TinySource, lenet

from core import training
from core.errors import InputError
from core.models import architecture
from core.models.layers import layers
from core.occlusion import occlusion_maps, patches
from jobs.inside_cnn import JOB
from results import inside
from results.stats import mean_interval
from search import main
from search.engine.study import Place
from search.inputs.loading import Images
from search.measures import activations, curves, occlusion

INPUTS = {"data": "digits", "side": 8, "fingerprint": "tiny", "seed": 3, "precision": "fp32"}


def looks_at(row: int, column: int, weight: float = 9.0):
    """Two classes; class 0 as likely as one pixel is bright."""

    def logits_of(pixels):
        seen = weight * pixels[:, 0, row, column]
        return torch.stack([seen, torch.zeros_like(seen)], 1)

    return logits_of


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_maps_are_those_of_a_plain_loop(fill, monkeypatch):
    monkeypatch.setattr("core.occlusion.CPU_BATCH_SIZE", 7)
    images, labels = TinyData().batch("search", range(3))
    pixels, network = images / 255, lenet()
    found = occlusion_maps(network, pixels, labels, patches(8, patch=3, stride=2), fill=fill)
    for n, label in enumerate(labels):
        expected = []
        for top in range(0, 6, 2):
            for left in range(0, 6, 2):
                hidden = pixels[n : n + 1].clone()
                hidden[..., top : top + 3, left : left + 3] = fill
                expected.append(network(hidden).softmax(1)[0, label].detach())
        torch.testing.assert_close(found[n], torch.stack(expected))  # other batches, other sums


def test_a_network_that_looks_at_one_pixel_falls_where_that_is_covered():
    pixels = torch.ones(1, 1, 8, 8)
    covered = patches(8, patch=2, stride=1)
    found = occlusion_maps(looks_at(2, 5), pixels, torch.tensor([0]), covered, fill=0.0)
    fallen = (found[0].reshape(7, 7) < 0.9).nonzero().tolist()
    assert fallen == [[1, 4], [1, 5], [2, 4], [2, 5]]
    assert torch.equal(covered[:, 2, 5], found[0] == 0.5)


def test_a_patch_over_everything_leaves_the_blank_image():
    pixels, network = torch.rand(2, 1, 8, 8), lenet()
    labels = torch.tensor([0, 1])
    found = occlusion_maps(network, pixels, labels, patches(8, patch=8, stride=1), fill=0.25)
    blank = network(torch.full((1, 1, 8, 8), 0.25)).softmax(1)[0]
    torch.testing.assert_close(found[:, 0], blank)


@pytest.mark.parametrize(("patch", "stride"), [(9, 1), (0, 1), (3, 0)])
def test_a_patch_that_does_not_fit_is_an_error(patch, stride):
    with pytest.raises(InputError, match=r"patch of 1 to 8.*\nHint: a patch of 7"):
        patches(8, patch=patch, stride=stride)


def test_what_no_map_can_be_made_of_is_refused():
    for data, names, said in (
        (replace(TinyData(), channels=3), ["none"], "--data digits"),
        (TinyData(), ["none", "smooth8"], "jpeg10 has none"),
    ):
        with pytest.raises(InputError, match=f"Hint: .*{said}"):
            occlusion.check(data, names, patch=3, stride=1)


def rows_of(pixel: tuple[int, int], fill: float):
    """Rows of one image, ink at (2, 2) alone, before a network that looks at one pixel."""
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    image[..., 2, 2] = 255
    cell = occlusion.Cell(
        **INPUTS, model="lenet", defence="none", networks=("n",), tables=("",), front="none",
        patch=3, stride=1, fill_255=fill, split="report", images="p", first=0, count=1,
    )  # fmt: skip
    block = Images(image, torch.tensor([0]), torch.tensor([7]), torch.tensor([0]))
    return occlusion.STUDY.evaluate(cell, (block, looks_at(*pixel, -9.0)))


def test_the_drop_is_told_apart_by_whether_the_patch_covers_ink():
    made = rows_of((4, 4), 255.0)  # a place of the ground, nine patches over it
    columns = made.columns
    assert (columns["n_places"][0], columns["n_on_ink"][0]) == (36, 9)
    each = 0.5 - 1 / (1 + np.exp(9))
    np.testing.assert_allclose(columns["drop"], 9 * each, rtol=1e-5)
    np.testing.assert_allclose(columns["drop_on_ink"], 1 * each, rtol=1e-5)  # rows, columns 2..4
    assert made.tensors["maps"].shape == (1, 6, 6)
    assert rows_of((4, 4), 0.0).columns["drop"][0] == 0  # black on black


@dataclass
class Quiet:
    said: str = ""

    def __call__(self, text: str) -> None:
        self.said = text


def test_curves_end_where_plain_training_ends():
    data, usual = TinyData(), training.usual("mnist_cnn")
    inputs = occlusion.loading.Inputs(**INPUTS, model="lenet")
    (cell, _) = curves.cells(inputs, ["mnist_cnn", "mnist_cnn_bn"], usual, n_runs=1, epochs=3)
    cell = replace(cell, batch_size=8, run=2)
    place = Place("cpu", 1, None, lambda: "", Quiet())
    study = curves.study(TinySource())
    columns = study.evaluate(cell, study.load(cell, place))
    model, records = training.fit(data, "mnist_cnn", epochs=3, batch_size=8, seed=5)
    images, labels = data.batch("report", range(16))
    right = int((model(images / 255).argmax(1) == labels).sum())
    assert columns["split"] == ["train", "search", "report"] * 3
    assert columns["n_correct"][-3] == records[-1].n_correct
    assert columns["loss"][-3] == records[-1].loss
    assert columns["n_correct"][-1] == right


def test_layers_have_the_reports_sizes_weights_and_units():
    network = architecture("mnist_cnn", n_classes=10, channels=1, side=28)
    found = layers(network, channels=1, side=28)
    assert [layer.reads for layer in found] == [(1, 28, 28), (32, 14, 14), (1568,), (500,)]
    assert [layer.gives for layer in found] == [(32, 28, 28), (32, 14, 14), (500,), (10,)]
    assert [layer.n_weights for layer in found] == [320, 9_248, 784_500, 5_010]
    assert [layer.n_units for layer in found] == [25_088, 6_272, 500, 10]
    assert "799,078   31,870" in inside.layers_text(found)
    normed = layers(
        architecture("mnist_cnn_bn", n_classes=10, channels=1, side=28), channels=1, side=28
    )
    assert sum(layer.n_weights for layer in normed) == 799_206
    assert sum(layer.n_units for layer in normed) == 31_870


def test_of_each_class_the_first_image_is_shown():
    piece = occlusion.Pictures((_piece([5, 2, 9], [1, 1, 0]), _piece([1, 0], [0, 2])))
    inputs = occlusion.loading.Inputs(**INPUTS, model="lenet")
    found = [(c.images, c.place) for c in activations.cells(inputs, "w", piece)]
    assert found == [("p1", 0), ("p5", 1), ("p1", 1)]


def _piece(images, labels):
    from search.inputs.pictures import Piece

    own = np.array(images), np.array(labels), np.array(labels)
    return Piece(f"p{images[0]}", "report", "benign", *own)


def test_few_values_have_students_interval():
    values = [1.0, 2.5, 0.0, 4.0]
    expected = scipy_stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy_stats.sem(values))
    _, low, high = mean_interval(values, few=True)
    np.testing.assert_allclose((low, high), expected, atol=0.01)  # a series in 1 / n


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [("--digit", "99", "classes 0..9, got 99"), ("--model", "lenet", "looks into mnist_cnn")],
)
def test_what_cannot_be_looked_into_is_refused(flag, value, said, capsys, tmp_path):
    assert main(JOB, [flag, value, "--here", "--store", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
