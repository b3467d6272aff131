"""Universal perturbations against a plain loop and by laws; the cells that make and score them."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from attacked import NORMS, noise_images, tiny_network
from tiny import TinyData, lenet

from core import models, seeds
from core.attacks import LINF, deepfool, round_within, universal_pass
from core.attacks.universal import predicted, random_change
from core.defences import Defended, defence_by_name
from core.errors import InputError
from core.training.steps import State
from jobs.universal import JOB
from results import universal as answers
from results.files import Root
from search import main
from search.engine.bank import Bank
from search.engine.study import Place
from search.inputs.loading import Victim
from search.inputs.pictures import Pictures, Piece
from search.measures import universal

DEEPFOOL = {"n_steps": 10, "overshoot": 0.02, "n_candidates": 10, "eps_255": 1e6}


def plain(network, pixels, classes, change, order, *, xi_255, norm):
    """Algorithm 1, image by image, as the source says it."""
    for i in order.tolist():
        here = (pixels[i : i + 1] + change).clamp(0, 1)
        if network(here).argmax(1) == classes[i]:
            change = change + deepfool(network, here, classes[i : i + 1], **DEEPFOOL) - here
            change = norm.shorten(change, xi_255 / 255)
    return change


def case():
    network, pixels = tiny_network(), noise_images() / 255
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(3))
    return network, pixels, predicted(network, pixels), torch.zeros_like(pixels[:1]), order


def one_pass(norm, xi_255, n_together=1, rows=slice(None)):
    network, pixels, classes, change, order = case()
    return universal_pass(
        network, pixels, classes, change, order=order[rows], xi_255=xi_255, norm=norm,
        n_together=n_together,
    )  # fmt: skip


@NORMS
def test_one_at_a_time_is_the_plain_loop(norm):
    network, pixels, classes, change, order = case()
    xi_255 = 2.0 if norm is LINF else 40.0
    ours, n_moved = one_pass(norm, xi_255)
    theirs = plain(network, pixels, classes, change, order, xi_255=xi_255, norm=norm)
    assert 1 < n_moved < len(pixels)  # some are fooled already and passed over
    # A batch may be summed in another order than a single image, in the last places.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert norm.length(ours) * 255 <= xi_255 * (1 + 1e-6)


def test_one_image_gets_deepfools_change_cut_to_the_ball():
    network, pixels, classes, _, order = case()
    for xi_255 in (255.0, 1.0):
        ours, n_moved = one_pass(LINF, xi_255, rows=slice(1))
        image = order[:1]
        whole = deepfool(network, pixels[image], classes[image], **DEEPFOOL) - pixels[image]
        assert n_moved == 1
        torch.testing.assert_close(ours, whole.clamp(-xi_255 / 255, xi_255 / 255))


def test_all_at_once_is_the_sum_of_their_changes():
    network, pixels, classes, _, _ = case()
    ours, n_moved = one_pass(LINF, 255.0, n_together=24)
    each = [
        deepfool(network, x[None], c[None], **DEEPFOOL) - x
        for x, c in zip(pixels, classes, strict=True)
    ]
    assert n_moved == 24
    torch.testing.assert_close(ours, torch.stack(each).sum(0).clamp(-1, 1), rtol=0, atol=1e-5)


def test_no_size_fools_nobody():
    network, pixels, classes, _, _ = case()
    change, n_moved = one_pass(LINF, 0.0)
    assert n_moved == len(pixels)
    assert not change.any()
    assert torch.equal(predicted(network, pixels, change), classes)


@NORMS
def test_a_random_change_is_as_large_as_allowed(norm):
    drawn = torch.Generator().manual_seed(0)
    change = random_change(torch.Size([3, 8, 8]), xi_255=40.0, norm=norm, generator=drawn)
    torch.testing.assert_close(norm.length(change).flatten() * 255, torch.tensor([40.0]))
    assert (change > 0).any()
    assert (change < 0).any()


@pytest.fixture
def stored(tmp_path):
    """A bank with a network and images of it, and cells that name them."""
    bank = Bank(Root(str(tmp_path)))
    images, labels = TinyData().batch("search", range(16))
    tensors = {"images": images, "labels": labels, "ids": torch.arange(16)}
    tensors["undefended"] = labels.clone()
    network, _ = bank.put(*models.to_tensors(lenet()))
    piece, _ = bank.put(tensors)
    inputs = {"data": "digits", "side": 8, "fingerprint": "tiny", "model": "lenet", "seed": 0}
    make = universal.MakeCell(
        **inputs, precision="fp32", weights=network, images=(piece,), n_images=16, norm="linf",
        xi_255=20.0, delta=0.0, n_together=4, n_passes=3,
    )  # fmt: skip
    return bank, make, tensors, piece


def made(bank, cell):
    place = Place("cpu", 1, bank, lambda: universal.MADE.cell_id(cell), lambda _: None)
    return universal.MADE.evaluate(cell, universal.MADE.load(cell, place))


class Killed(Exception):  # noqa: N818
    pass


def test_making_goes_on_after_a_kill_with_the_same_bytes(stored, monkeypatch):
    bank, cell, *_ = stored
    straight = made(bank, cell)
    straight.unfinished.remove()
    assert straight.columns["number"] == [1, 2, 3]
    write, writes = universal.Unfinished.write, []

    def dies(self, tensors: State, notes) -> None:
        write(self, tensors, notes)
        writes.append(notes)
        if len(writes) == 2:
            raise Killed

    monkeypatch.setattr(universal.Unfinished, "write", dies)
    with pytest.raises(Killed):
        made(bank, cell)
    again = made(bank, cell)
    assert len(writes) == 3
    assert torch.equal(again.tensors["change"], straight.tensors["change"])
    assert again.columns["n_fooled"] == straight.columns["n_fooled"]


def test_making_ends_when_more_than_the_wanted_share_is_fooled(stored):
    bank, cell, *_ = stored
    fooled = made(bank, cell).columns["n_fooled"][0]
    assert 0 < fooled < 16
    for n_missing, n_passes in ((fooled - 1, 1), (fooled, 3)):
        passes = made(bank, replace(cell, delta=1 - n_missing / 16, n_passes=3)).columns
        assert len(passes["number"]) == n_passes or passes["n_fooled"][-1] > fooled


def test_through_a_defence_it_is_made_for_both(stored):
    bank, cell, tensors, _ = stored
    fields = {**vars(cell), "n_passes": 1}
    bare = made(bank, replace(cell, n_passes=1)).tensors["change"]
    nothing = made(bank, universal.ThroughCell(**fields, front="none")).tensors["change"]
    torch.testing.assert_close(nothing, bare)
    change = made(bank, universal.ThroughCell(**fields, front="uniform40")).tensors["change"]
    network, table = lenet(), defence_by_name("uniform40")
    pixels = tensors["images"] / 255
    order = torch.randperm(16, generator=seeds.generator(0, "universal", 1))
    guarded = Defended(table, network)
    expected, _ = universal_pass(
        guarded, pixels, predicted(guarded, pixels), torch.zeros_like(pixels[:1]), order=order,
        xi_255=20.0, norm=LINF, n_together=4,
    )  # fmt: skip
    torch.testing.assert_close(change, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(change, bare, atol=1e-3)


def test_rows_hold_both_classes_of_every_image(stored):
    bank, cell, tensors, piece = stored
    change = made(bank, cell).tensors["change"]
    name, _ = bank.put({"change": change})
    split = Piece(piece, "search", "benign", tensors["ids"].numpy(), tensors["labels"].numpy(), [])
    victims = {"none": Victim((cell.weights,), ("",))}
    cells = list(universal.cells(cell, name, victims, [Pictures((split,))], block=9))
    assert [(each.first, each.count) for each in cells] == [(0, 9), (9, 7)]
    place = Place("cpu", 1, bank, lambda: "")
    found = [universal.STUDY.evaluate(each, universal.STUDY.load(each, place)) for each in cells]
    images, network = tensors["images"], lenet()
    levels = (255 * change).round().clamp(-20, 20)
    for column, seen in (("clean", images), ("perturbed", (images + levels).clamp(0, 255))):
        expected = network(seen / 255).argmax(1).numpy()
        np.testing.assert_array_equal(np.concatenate([part[column] for part in found]), expected)
    assert torch.equal(
        universal.with_change(images, change, xi_255=20.0, norm="linf"),
        round_within(images / 255 + change, images, eps_255=20.0),
    )


def test_a_share_out_of_range_is_an_error(stored):
    for wrong in ({"delta": 1.5}, {"xi_255": 256.0}):
        with pytest.raises(InputError, match=r"delta in 0..1.*\nHint: delta 0.2"):
            replace(stored[1], **wrong)


def test_a_share_out_of_range_is_no_flag(capsys):
    with pytest.raises(SystemExit):
        main(JOB, ["--delta", "1.5"])
    assert "--delta: expected a number in 0..1, got '1.5'" in capsys.readouterr().err


def test_a_line_says_what_a_change_is_made_through_and_tried_on():
    one = {"split": "report", "xi_255": 8.0, "n_images": 4, "label": 0, "clean": 0}
    rows = pd.DataFrame(
        {**one, "n_together": together, "through": through, "defence": defence, "image": image,
         "perturbed": image < n_fooled}
        for together, through, defence, n_fooled in (
            (32, "", "none", 1), (32, "jpeg75", "on lenet", 2), (0, "", "jpeg75", 0),
        )
        for image in range(4)
    )  # fmt: skip
    lines = answers.counted(rows).set_index("change")["fooled"]
    assert lines.to_dict() == {
        "deepfool 32": 25.0,
        "deepfool 32 through jpeg75, on lenet": 50.0,
        "random, jpeg75": 0.0,
    }


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--through", "shield"], "--through shield: one change"),
        (["--through", "jpeg0"], r"quality must lie in 1\.\.100, got 'jpeg0'"),
        (["--on", "resnet50x"], "'resnet50x'"),
        (["--defences", f"bls@{'0' * 64}"], "bank does not hold the weights of bls@0"),
        (["--through", f"denoiser-both@{'0' * 64}"], "bank does not hold the weights of denoiser-"),
        (["--defences"], r"expected --defences .*\nHint: --defences none"),
    ],
)
def test_what_cannot_be_tried_is_said_before_anything_is_trained(tmp_path, capsys, flags, said):
    few = ["--benign", "4", "--report-benign", "4", "--passes", "1", "--xi-255", "8"]
    assert main(JOB, ["--here", "--store", str(tmp_path), *few, *flags]) == 2
    err = capsys.readouterr().err
    assert re.search(said, err)
    assert "epoch" not in err
    assert not [*tmp_path.glob("rows/*")]
