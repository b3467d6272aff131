"""Learned codecs in training, as cells, as defences; what their rows say against JPEG's."""

import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.metrics
import torch
from tiny import TinyData, TinySource

from core import learned, seeds
from core.codec import rate
from core.defences import Learned, defence_by_name
from core.errors import InputError
from core.learned import names
from core.training.learned import codec_training
from jobs.rate_distortion import JOB
from jobs.threat_table import JOB as THREATS
from results import compression
from results.files import Root
from results.store import Store
from search import Lab, main
from search.engine.bank import Bank
from search.engine.here import Here
from search.engine.study import Place
from search.flags import parse
from search.inputs import codecs
from search.inputs.loading import defence_of
from search.measures import compressed


def begun(**how):
    return codec_training(
        TinyData(),
        **{"kind": "bls", "distortion_weight": 0.01, "filters": 3, "epochs": 2, "seed": 5, **how},
    )


def test_training_goes_on_from_a_state_with_the_same_bytes():
    straight, first, second = begun(), begun(), begun()
    straight.epoch(), straight.epoch()
    first.epoch()
    second.restore(first.state())
    second.epoch()
    ours, theirs = second.state(), straight.state()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() - {"records.all"})


@pytest.mark.parametrize("kind", learned.KINDS)
def test_a_step_weighs_bits_of_noisy_latents_against_errors_of_levels(kind):
    training = begun(kind=kind)
    model, pixels = training.model, TinyData().batch("train", range(4))[0] / 255
    draws = seeds.generator(5, "noise")

    def noisy(latents):
        return latents + torch.rand(latents.shape, generator=draws) - 0.5

    priced = model.priced(pixels, noisy)
    error = (255 * (priced.pixels - pixels)).square().mean()
    expected = priced.bits.sum() / (4 * 8 * 8) + 0.01 * error
    labels = torch.zeros(4, dtype=torch.int64)
    torch.testing.assert_close(training.step.loss(model, pixels, labels)[0], expected)


def test_a_codec_begins_as_another_ended():
    first = begun()
    first.epoch()
    weights, _ = learned.to_tensors(first.model)
    again, _ = learned.to_tensors(begun(start=weights, distortion_weight=0.1).model)
    assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf])
def test_a_lambda_of_nothing_is_refused(wrong):
    with pytest.raises(InputError, match=r"a lambda above 0, got .*\nHint"):
        begun(distortion_weight=wrong)


def cell_of(**changes):
    return replace(
        codecs.CodecCell(
            data="digits", side=8, fingerprint="tiny", seed=0, kind="bls", distortion_weight=0.01,
            filters=3, epochs=1, learning_rate=1e-3, batch_size=16, start="",
        ),
        **changes,
    )  # fmt: skip


def place_of(folder, study, cell):
    bank = Bank(Root(str(folder)))
    return Place("cpu", 1, bank, lambda: study.cell_id(cell), lambda _: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store's folder, and the piece of a codec in its bank."""
    folder = tmp_path_factory.mktemp("codecs")
    study = codecs.codec_study(TinySource())
    place = place_of(folder, study, cell_of())
    made = study.evaluate(cell_of(), place)
    assert made.columns["epoch"] == [1]
    piece, _ = place.bank.put(dict(made.tensors), made.metadata)
    return folder, piece


def coded(folder, codec, weights="", first=3, count=5):
    study = compressed.study(TinySource())
    cell = compressed.Cell(
        data="digits", side=8, fingerprint="tiny", codec=codec, weights=weights, split="report",
        first=first, count=count,
    )  # fmt: skip
    return study.evaluate(cell, place_of(folder, study, cell))


def test_rows_are_what_each_string_costs_and_decodes_to(trained):
    folder, piece = trained
    made = coded(folder, "bls:lambda=0.01", piece)
    images = TinyData().batch("report", range(3, 8))[0]
    codec = defence_of(Bank(Root(str(folder))), f"bls@{piece}").codec
    with torch.no_grad():
        strings, priced = codec.encode(codec.latents(images / 255)), codec.priced(images / 255)
    assert made.columns["image"] == [3, 4, 5, 6, 7]
    assert made.columns["bits"] == [string.n_bits for string in strings]
    np.testing.assert_allclose(made.columns["bits_estimated"], priced.bits)
    over = np.subtract(made.columns["bits"], made.columns["bits_estimated"])
    assert (over > 0).all()
    assert (over < 4).all()
    seen = (255 * priced.pixels).round().clamp(0, 255) / 255
    np.testing.assert_allclose(
        made.columns["sse"], (seen - images / 255).square().flatten(1).sum(1), rtol=1e-5
    )
    assert made.columns["n_values"] == [64] * 5
    assert torch.equal(made.tensors["images"], (255 * seen).round().to(torch.uint8))
    assert made.columns["ssim"] == made.columns["bits_marked"] == [None] * 5
    assert (
        coded(folder, "bls:lambda=0.01", piece, first=4, count=1).columns["bits"][0]
        == made.columns["bits"][1]
    )


def test_rows_of_jpeg_have_both_readings(trained):
    made = coded(trained[0], "jpeg20")
    images = TinyData().batch("report", range(3, 8))[0]
    assert made.columns["bits"] == rate.bits_of("jpeg20", images).tolist()
    assert made.columns["bits_marked"] == rate.bits_of("jpeg20", images, marked=True).tolist()
    theirs = [
        skimage.metrics.peak_signal_noise_ratio(image.numpy(), seen.numpy())
        for image, seen in zip(images, made.tensors["images"], strict=True)
    ]
    rows = pd.DataFrame(made.columns).assign(side=8, codec="jpeg20")
    np.testing.assert_allclose(compression.measured(rows)["psnr"], theirs, rtol=1e-5)


def test_a_codec_is_a_defence_that_gradients_go_through(trained):
    folder, piece = trained
    defence = defence_of(Bank(Root(str(folder))), f"bls@{piece}")
    assert isinstance(defence, Learned)
    pixels = (TinyData().batch("report", range(4))[0] / 255).requires_grad_()
    out = defence(pixels)
    assert torch.equal((out * 255).round() / 255, out)
    whole = defence.codec(
        pixels, lambda latents: latents.detach().round() + latents - latents.detach()
    )
    (whole.clamp(0, 1) * torch.arange(64.0).view(8, 8)).sum().backward()
    expected, pixels.grad = pixels.grad, None
    (out * torch.arange(64.0).view(8, 8)).sum().backward()
    torch.testing.assert_close(pixels.grad, expected)
    assert expected.abs().sum() > 0
    assert (
        not defence(pixels, rounding=torch.round).requires_grad
        or not torch.autograd.grad(defence(pixels, rounding=torch.round).sum(), pixels)[0].any()
    )


def rows_of(*cells):
    return pd.DataFrame(
        {**asdict(cell), "epoch": epoch, "piece": f"{i}" * 64}
        for i, cell in enumerate(cells) for epoch in range(1, cell.epochs + 1)
    )  # fmt: skip


def test_a_name_is_one_stored_codec():
    rows = rows_of(cell_of(epochs=2), cell_of(filters=6), cell_of(distortion_weight=0.1))
    assert codecs.stored("bls:lambda=0.1", rows) == "bls@" + "2" * 64
    assert codecs.stored("bls:lambda=0.01,filters=6", rows) == "bls@" + "1" * 64
    assert codecs.stored("bls:lambda=0.01,epochs=2", rows) == "bls@" + "0" * 64
    with pytest.raises(
        InputError, match=r"holds 2 .*\nbls:lambda=0.01,filters=3,epochs=2: bls@000(.*\n)*Hint"
    ):
        codecs.stored("bls:lambda=0.01", rows)
    for name, stored in (
        ("bmhj:lambda=0.1", rows),
        ("bls:lambda=0.2", rows),
        ("bls:lambda=1", None),
    ):
        with pytest.raises(InputError, match=r"holds no b.*\nHint: .*--lambdas"):
            codecs.stored(name, stored)


@pytest.mark.parametrize(
    "name", ["bls", "bls:lambda=0", "bls:lambda=x", "bls:0.1", "bmhj:lambda=1,f=2"]
)
def test_names_that_say_no_codec_are_refused(name):
    with pytest.raises(InputError, match=r"bls:lambda=L .*\nHint"):
        names.read(name)


def test_pieces_of_another_kind_are_refused(trained):
    folder, piece = trained
    bank = Bank(Root(str(folder)))
    other, _ = bank.put({"images": torch.zeros(1)})
    with pytest.raises(InputError, match="expected a learned codec, found tensors of another kind"):
        defence_of(bank, f"bls@{other}")
    with pytest.raises(InputError, match=f"another kind.\nHint: bls@{piece}"):
        defence_of(bank, f"bmhj@{piece}")
    with pytest.raises(InputError, match="as bls@PIECE, got 'bls:lambda=1'"):
        defence_of(bank, "bls:lambda=1")
    with pytest.raises(InputError, match=r"weights are not at hand.*\nHint"):
        defence_by_name("bls:lambda=1")


def curve(codec, bits, psnr, n=40):
    """Images that differ alike for all codecs, in bits by a factor."""
    i = np.arange(n)
    return pd.DataFrame(
        {"codec": codec, "image": i, "side": 10, "bits": bits * (1 + i / n),
         "bits_estimated": math.nan, "bits_side": math.nan, "ssim": 0.5,
         "bits_marked": bits * (1 + i / n) * 1.25,
         "sse": 100 * 10 ** (-(psnr + i % 3) / 10), "n_values": 100}
    )  # fmt: skip


def curves(saved=0.6, upto=40):
    ours = [curve(f"bls:lambda={i}", saved * 2 ** (i / 2), 25 + 3 * i) for i in range(upto)]
    theirs = [curve(f"jpeg{q}", 2 ** (q / 2), 25 + 3 * q) for q in range(5)]
    return pd.concat(ours + theirs, ignore_index=True)


def test_what_is_saved_at_equal_quality_is_known():
    rows = curves(upto=4)
    found = compression.saved(rows, "BLS", "JPEG 4:2:0", compression.SCAN)
    for name in ("saved", "low", "high"):  # the same on all images: nothing to resample
        assert found[name] == pytest.approx(40)
    assert (found["psnr_from"], found["psnr_to"]) == pytest.approx((25.975, 34.975))
    marked = compression.saved(rows, "BLS", "JPEG 4:2:0", compression.MARKED)
    assert marked["saved"] == pytest.approx(100 * (1 - 0.6 / 1.25))
    harder = rows["codec"].str.startswith("bls") & (rows["image"] % 2 == 0)
    rows.loc[harder, "bits"] *= 2
    unsure = compression.saved(rows, "BLS", "JPEG 4:2:0", compression.SCAN)
    assert unsure["low"] < unsure["saved"] < unsure["high"] < 40
    grouped = compression.saved(
        rows.assign(group=rows["image"] // 10), "BLS", "JPEG 4:2:0", compression.SCAN
    )
    assert grouped["n_groups"] == 4
    assert grouped["saved"] == pytest.approx(unsure["saved"])
    assert math.isnan(
        compression.saved(curves(upto=1), "BLS", "JPEG 4:2:0", compression.SCAN)["saved"]
    )


def test_codecs_are_counted_and_matched_by_their_rate():
    lines = compression.counted(curves(upto=2))
    assert list(lines["family"][:2]) == ["BLS", "BLS"]
    assert lines["bpp"].iloc[0] == pytest.approx(0.6 * (1 + 39 / 80) / 100)
    assert lines["psnr"].iloc[0] == pytest.approx(25 + np.mean(np.arange(40) % 3))
    assert compression.nearest(lines, "BLS", "JPEG 4:2:0") == {
        "bls:lambda=0": "jpeg0",
        "bls:lambda=1": "jpeg0",
    }
    text = compression.text(lines, pd.DataFrame([{"first": "BLS", "second": "JPEG 4:2:0",
        "reading": "scan", "saved": math.nan}]), {"bls:lambda=0": 1.25}, "bls")  # fmt: skip
    assert "BLS against JPEG 4:2:0 (scan): no PSNR in common" in text
    assert text.splitlines()[1].endswith("1.2")
    jpeg5 = compression.text(compression.counted(curve("jpeg5", 30, 20)), pd.DataFrame(), {}, "bls")
    assert " 0.48 " in jpeg5  # printed


def lab_of(folder: Path, *flags: str) -> Lab:
    asked = parse(THREATS.asked, name="t", question="", argv=["--data", "digits", *flags])
    return Lab(Here(Store(Root(str(folder))), 1.0, asked.figure), asked)


def test_a_trained_codec_stands_in_the_threat_table(tmp_path, capsys):
    store = ["--here", "--store", str(tmp_path)]
    small = "--data digits --lambdas 0.05 --filters 2 --epochs 1 --qualities 10 --images 8 --tables"
    assert main(JOB, [*small.split(), *store]) == 0
    codec = (
        "--defences none bls:lambda=0.05 --gray fgsm@8 --black --white worst@8x2 --report-benign 4"
    )
    assert main(THREATS, [*codec.split(), *store]) == 0
    assert "bls:lambda=0.05" in capsys.readouterr().out
    shutil.move(tmp_path / "bank", tmp_path / "elsewhere")  # rows alone came home
    lab_of(tmp_path, "--figure").front("bls:lambda=0.05")
    with pytest.raises(InputError, match="bank does not hold the weights"):
        lab_of(tmp_path).front("bls:lambda=0.05")
    shutil.move(tmp_path / "elsewhere", tmp_path / "bank")
    assert main(THREATS, ["--defences", "bls:lambda=0.5", *store]) == 2
    assert "the store holds no bls:lambda=0.5" in capsys.readouterr().err
    assert main(JOB, ["--data", "digits", "--tables", "tvm", *store]) == 2
    assert "a codec of fixed tables, got 'tvm'" in capsys.readouterr().err
    assert main(JOB, ["--images", "5000", "--data", "digits", *store]) == 2
    assert "images of the report split" in capsys.readouterr().err
    alike = ["--data", "digits", "--lambdas", "0.012,0.0120000001", "--qualities", "10"]
    assert main(JOB, [*alike, *store]) == 2
    assert "differ in their first six digits" in capsys.readouterr().err
    assert main(JOB, ["--model", "lenet", *store]) == 2
    assert "no classifier takes part" in capsys.readouterr().err
