"""Noise as theory has it, denoisers by their laws, and how their answers are counted."""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import skimage.metrics
import torch
from skimage.restoration import denoise_nl_means
from tiny import TinyData, TinySource

from core import denoising, seeds
from core.codec.quality import psnr_db
from core.defences import defence_by_name
from core.errors import InputError
from core.models import denoiser
from core.models.denoiser import SKIPS, Denoiser
from core.training.denoising import denoiser_training
from jobs.denoise import JOB
from results import denoise as answers
from results.files import Root
from search import flags, main
from search.engine.bank import Bank
from search.engine.study import Place
from search.inputs import denoisers
from search.inputs.loading import defence_of
from search.measures import denoised


def test_noise_has_the_psnr_that_theory_gives_it():
    pixels = torch.full((300, 3, 32, 32), 0.5)
    draws = [seeds.generator(0, i) for i in range(300)]
    psnr = psnr_db(denoising.noisy(pixels, draws, sigma=0.1), pixels)
    # 3072 values: the mean is 20 + 4.343 / 3072 dB, the deviation 4.343 sqrt(2 / 3072)
    deviation = 10 / math.log(10) * math.sqrt(2 / 3072)
    assert abs(psnr.mean() - 20.0014) < 4 * deviation / math.sqrt(300)
    assert psnr.std() == pytest.approx(deviation, rel=4 / math.sqrt(2 * 300))


@pytest.mark.parametrize("name", denoising.BASELINES)
def test_baselines_beat_noise(name):
    pixels = torch.zeros(2, 1, 32, 32)
    pixels[:, :, 8:24, 4:20] = 1
    draws = [seeds.generator(0, i) for i in range(2)]
    noisy = denoising.noisy(pixels, draws, sigma=0.1).clamp(0, 1)
    out = denoising.baseline(noisy, name, sigma=0.1)
    assert (psnr_db(out, pixels) > psnr_db(noisy, pixels) + 1).all()
    if name == "non-local means":
        settings = {"patch_size": 5, "patch_distance": 6, "h": 0.08, "sigma": 0.1}
        flat = denoise_nl_means(noisy[0, 0].numpy(), **settings)
        np.testing.assert_allclose(out[0, 0], flat.clip(0, 1), atol=1e-6)


def test_what_skip_connections_carry():
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    n_weights = set()
    for skips in SKIPS:
        network = Denoiser(channels=3, width=4, n_blocks=2, skips=skips).eval()
        n_weights.add(sum(w.numel() for w in network.parameters()))
        across, around = skips in ("both", "global"), skips in ("both", "block")
        assert torch.equal(network(pixels), pixels) == across  # as it begins
        for block in network.blocks:
            assert (block[-1].weight == 0).all() == around
            torch.nn.init.zeros_(block[-1].weight)  # a block that says nothing
        torch.nn.init.normal_(network.out.weight)
        beside = network(pixels) - pixels if across else network(pixels)
        assert bool((beside.std((0, 2, 3)) > 1e-3).all()) == around
    assert len(n_weights) == 1
    with pytest.raises(InputError, match=r"both, block, global, none, got 'some'.*\nHint"):
        Denoiser(channels=3, width=4, n_blocks=2, skips="some")


def test_unknown_skips_are_refused_by_the_command_line(capsys):
    with pytest.raises(SystemExit):
        flags.parse(JOB.asked, name="denoise", question="", argv=["--skips", "both", "some"])
    assert "'both', 'block', 'global', 'none'" in capsys.readouterr().err
    asked = flags.parse(JOB.asked, name="denoise", question="", argv=["--skips", "none"])
    assert asked.skips == ["none"]


def test_a_classifier_that_takes_no_part_is_refused(capsys, tmp_path):
    assert main(JOB, ["--model", "lenet", "--here", "--store", str(tmp_path)]) == 2
    assert "no classifier takes part" in capsys.readouterr().err


def begun():
    return denoiser_training(
        TinyData(), skips="both", sigma=0.1, width=4, n_blocks=1, epochs=3, seed=5
    )


def test_adam_goes_on_from_a_state_with_the_same_bytes():
    straight, first, second = begun(), begun(), begun()
    for _ in range(2):
        straight.epoch()
    first.epoch()
    second.restore(first.state())
    second.epoch()
    ours, theirs = second.state(), straight.state()
    assert ours.keys() == theirs.keys()
    assert any(name.startswith("optimiser.0.exp_avg_sq") for name in ours)
    timed = {"records.all"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours.keys() - timed)


def test_a_step_minimises_the_squared_error_of_clipped_noisy_images():
    training = begun()
    step, model = training.step, training.model
    pixels = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(4, dtype=torch.int64)
    noise = torch.randn(pixels.shape, generator=seeds.generator(5, "noise"))
    expected = (model((pixels + 0.1 * noise).clamp(0, 1)) - pixels).square().mean()
    torch.testing.assert_close(step.loss(model, pixels, labels)[0], expected)


def place_of(tmp_path, study, cell):
    bank = Bank(Root(str(tmp_path)))
    return Place("cpu", 1, bank, lambda: study.cell_id(cell), lambda _: None)


def trained(**changes):
    cell = {"data": "digits", "side": 8, "fingerprint": "tiny", "seed": 0, "sigma": 0.1, "run": 1}
    network = {"skips": "both", "width": 4, "n_blocks": 1, "epochs": 2}
    return denoisers.TrainCell(**cell | network | changes)


def scored(tmp_path, way="noisy", weights="", first=3, count=5, **changes):
    told = {"way": way, "weights": weights, "split": "report", "first": first, "count": count}
    cell = denoised.Cell(**asdict(trained(**changes)), **told)
    study = denoised.study(TinySource())
    return study.evaluate(cell, study.load(cell, place_of(tmp_path, study, cell)))


def test_rows_are_errors_of_every_image(tmp_path):
    images = TinyData().batch("report", range(16))[0]
    made = scored(tmp_path)
    assert made.columns["image"] == [3, 4, 5, 6, 7]
    rows = pd.DataFrame(made.columns).assign(way="noisy")
    for i, psnr in enumerate(answers.psnrs(rows)["psnr"]):
        seen = made.tensors["images"][i].numpy()
        theirs = skimage.metrics.peak_signal_noise_ratio(images[3 + i].numpy(), seen)
        assert psnr == pytest.approx(theirs, abs=0.02)  # the piece is rounded to 8 bits
    assert not np.any(scored(tmp_path, sigma=0.0).columns["sse"])
    wide = scored(tmp_path, "not clipped").columns["sse"]
    assert (wide >= made.columns["sse"]).all()
    assert scored(tmp_path, first=4, count=1).columns["sse"][0] == made.columns["sse"][1]


def test_a_trained_network_is_what_scores(tmp_path):
    study, cell = denoisers.denoiser_study(TinySource()), trained()
    place = place_of(tmp_path, study, cell)
    kept = study.evaluate(cell, place)
    assert kept.columns["epoch"] == [1, 2]
    weights, _ = place.bank.put(kept.tensors)
    made = scored(tmp_path, "skips both", weights)
    network = Denoiser(channels=1, width=4, n_blocks=1, skips="both")
    network.load_state_dict(kept.tensors)
    images = TinyData().batch("report", range(3, 8))[0] / 255
    draws = [seeds.generator(0, i, "noise") for i in range(3, 8)]
    noisy = denoising.noisy(images, draws, sigma=0.1).clamp(0, 1)
    out = network.eval()(noisy).clamp(0, 1)
    squares = (out.double() - images).square().flatten(1).sum(1)
    np.testing.assert_allclose(made.columns["sse"], squares.detach(), rtol=1e-5)


def test_a_denoiser_is_a_defence_that_gradients_go_through(tmp_path):
    study, cell = denoisers.denoiser_study(TinySource()), trained(skips="global")
    place = place_of(tmp_path, study, cell)
    piece, _ = place.bank.put(study.evaluate(cell, place).tensors)
    defence = defence_of(place.bank, f"denoiser-global@{piece}")
    pixels = (TinyData().batch("report", range(4))[0] / 255).requires_grad_()
    out = defence(pixels)
    network = denoiser.from_tensors(place.bank.get(piece)[0], skips="global")
    torch.testing.assert_close(out, network(pixels).clamp(0, 1))
    assert not torch.equal(out, pixels)
    (slope,) = torch.autograd.grad(out.sum(), pixels)
    assert slope.abs().sum() > 0
    with pytest.raises(InputError, match=r"as denoiser-both@PIECE, got .*\nHint"):
        defence_of(place.bank, "denoiser:skips=global")
    other, _ = place.bank.put({"images": torch.zeros(1)})
    with pytest.raises(InputError, match=r"a denoiser's weights, found images.\nHint"):
        defence_of(place.bank, f"denoiser-both@{other}")
    with pytest.raises(InputError, match=r"not at hand.*\nHint: jobs/denoise"):
        defence_by_name("denoiser:skips=both")


def test_a_name_is_one_stored_denoiser():
    cells = [trained(run=0), trained(run=1), trained(skips="none", sigma=0.2)]
    rows = pd.DataFrame(
        {**asdict(cell), "epoch": epoch, "piece": f"{i}" * 64}
        for i, cell in enumerate(cells)
        for epoch in (1, 2)
    )
    assert denoisers.stored("denoiser:skips=none", rows) == "denoiser-none@" + "2" * 64
    assert denoisers.stored("denoiser:run=1,sigma=0.1,blocks=1", rows).endswith("@" + "1" * 64)
    name = "denoiser:sigma=0.1,skips=both,width=4,blocks=1,epochs=2,run=0"
    assert denoisers.stored(name, rows).endswith("@" + "0" * 64)
    with pytest.raises(InputError, match=rf"holds 2 .*\n{name}: denoiser-both@000(.*\n)*Hint"):
        denoisers.stored("denoiser:sigma=0.1", rows)
    for asked, stored, there in (
        ("denoiser:epochs=3", rows, rf"data, only {name}"),
        ("denoiser", None, "data"),
    ):
        with pytest.raises(
            InputError, match=rf"no denoiser.* {there}.*\nHint: .*denoise.py trains"
        ):
            denoisers.stored(asked, stored)
    for wrong in ("denoiser:size=3", "denoiser:run=x", "denoiser@both"):
        with pytest.raises(InputError, match=r"some of sigma, skips.*\nHint"):
            denoiser.read(wrong)
    with pytest.raises(InputError, match=r"among both, block, global, none, got .*some'\.\nHint"):
        denoisers.stored("denoiser:skips=some", rows)


def rows_of(gains):
    """Two runs over four images: without skips 20 + image + run dB, with them `gains` more."""
    return pd.DataFrame(
        {"image": i, "run": run, "way": f"skips {skips}", "sigma": 0.1, "n_values": 1,
         "sse": 10 ** -((20 + i + run + (gains[i] if skips == "both" else 0)) / 10)}
        for i in range(len(gains)) for run in range(2) for skips in ("both", "none")
    )  # fmt: skip


def test_differences_pair_images_and_average_runs():
    rows = rows_of([0.0, 0.5, 1.0])
    (line,) = answers.differences(rows, 0.1).to_dict("records")
    assert (line["way"], line["n_images"]) == ("skips both", 3)
    assert line["difference"] == pytest.approx(0.5)
    assert line["high"] - line["difference"] == pytest.approx(1.959964 * 0.5 / math.sqrt(3))
    both = answers.counted(rows).set_index("way").loc["skips both"]
    assert both["mean"] == pytest.approx(22.0)
    assert both["runs"] == "21.50 22.50"


def test_a_group_of_images_is_one_observation():
    rows = rows_of([0.0, 1.0, 3.0, 3.0])
    (line,) = answers.differences(rows.assign(group=rows["image"] // 2), 0.1).to_dict("records")
    assert (line["n_groups"], line["difference"]) == (2, pytest.approx(1.75))
    assert line["high"] - line["difference"] == pytest.approx(1.959964 * 1.25)
    assert not len(answers.differences(rows[rows["way"] != "skips none"], 0.1))


def test_the_noise_of_20_db_is_found_between_those_measured():
    sigma = np.array([0.08, 0.1, 0.12])
    lines = pd.DataFrame({"way": "noisy", "sigma": sigma, "mean": -20 * np.log10(sigma) + 0.3})
    assert answers.calibrated(lines) == pytest.approx(10 ** (-19.7 / 20))
    assert math.isnan(answers.calibrated(lines[:2]))
