"""Training: it learns, the same seed gives the same bytes, and faults are named."""

import itertools
import json
import math
from collections.abc import Iterator

import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.optim import lr_scheduler

from core.data import Data, open_data
from core.errors import InputError
from core.known import SCHEDULES as NAMES
from core.models import Normalised, architecture, read_tensors, to_tensors
from core.training import (
    classifier_training,
    default_epochs,
    fit,
    fresh,
    one_cycle,
    train_classifier,
)
from core.training.epochs import EpochRecord, nothing_learned
from core.training.schedules import SCHEDULES, scheduled
from results.files import Root
from results.store import Store
from search.engine.here import Here
from search.engine.unfinished import Unfinished
from search.inputs import networks


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def accuracy(model: Normalised, data: Data, split: str) -> float:
    images, labels = data.batch(split, range(data.size(split)))
    with torch.inference_mode():
        return float((model(images.float() / 255).argmax(1) == labels).float().mean())


def test_half_the_recipe_of_the_shipped_network_reads_digits_about_as_well():
    data, lines = open_data("digits"), []
    recipe = json.loads(read_tensors(networks.SHIPPED)[1]["training"])
    model, records = fit(
        data, "small_resnet", epochs=recipe["cell"]["epochs"] // 2, progress=lines.append
    )
    assert not model.training
    # 98 to 99 % in most runs; two points below is four standard errors of chance
    shipped = recipe["report_right"] / recipe["report_images"]
    assert accuracy(model, data, "report") >= shipped - 0.02
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5, 6]
    assert all(record.n_images == 12 * 64 for record in records)
    assert records[-1].n_correct > 0.97 * records[-1].n_images
    assert len(lines) == 6
    pixels = data.batch("train", range(797))[0].float() / 255
    torch.testing.assert_close(model.mean.flatten(), pixels.mean()[None])
    torch.testing.assert_close(model.std.flatten(), pixels.std(correction=0)[None])


def test_the_same_seed_gives_the_same_bytes_and_leaves_torchs_generator_alone():
    data = open_data("digits")
    state = torch.get_rng_state()
    runs = [to_tensors(fit(data, "lenet", epochs=1, seed=seed)[0])[0] for seed in (5, 5, 6)]
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert not torch.equal(
        runs[0]["backbone.features.0.weight"], runs[2]["backbone.features.0.weight"]
    )


def test_dropout_and_mirroring_follow_the_seed_too(tmp_path):
    for label in range(2):
        for i in range(10):
            path = tmp_path / str(label) / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.effect_noise((32, 32), 30 + 60 * label).save(path)
    data = open_data(f"imagefolder:{tmp_path}", side=32)
    runs = []
    for noise in range(2):
        torch.manual_seed(noise)
        model, records = fit(data, "train:mobilenet_v3_small", epochs=2, batch_size=4)
        runs.append(to_tensors(model)[0])
        assert records[0].n_images == 12
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_the_rate_rises_to_the_whole_and_falls_to_nothing():
    shares = [one_cycle(i / 400) for i in range(401)]
    assert max(shares) == shares[100] == 1
    assert shares[:101] == sorted(shares[:101])
    assert shares[100:] == sorted(shares[100:], reverse=True)
    assert math.isclose(shares[-1], 0, abs_tol=1e-12)
    assert 0 < shares[0] < 0.1


def rates(name: str, *, epochs: int, n_batches: int) -> list[float]:
    rate = scheduled(name, 0.3, epochs)
    return [rate(step, n_batches) for step in range(epochs * n_batches)]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("cosine", lambda sgd: lr_scheduler.CosineAnnealingLR(sgd, T_max=120)),
        ("step", lambda sgd: lr_scheduler.MultiStepLR(sgd, milestones=[60, 90])),
        ("constant", lambda sgd: lr_scheduler.ConstantLR(sgd, factor=1.0)),
    ],
)
def test_the_other_schedules_are_torchs(name, theirs):
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    expected, schedule = [], theirs(sgd)
    for _ in range(120):
        expected.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    assert rates(name, epochs=8, n_batches=15) == pytest.approx(expected, rel=1e-9)


def test_a_schedule_is_known_by_name_before_torch_is_and_no_other_is():
    assert tuple(SCHEDULES) == NAMES
    with pytest.raises(InputError, match="among one-cycle, cosine, step, constant, got 'linear'"):
        scheduled("linear", 0.1, 1)


def weights(**changes) -> dict[str, torch.Tensor]:
    """Of lenet after two steps of one epoch: the data's 797 training images in batches of 398."""
    given = {"epochs": 1, "batch_size": 398, "seed": 3} | changes
    run = classifier_training(open_data("digits"), "lenet", **given)
    run.epoch()
    return dict(run.model.state_dict())


def moved(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of a weight."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_rate_schedule_and_batch_train_and_the_same_ones_give_the_same_bytes():
    start = fresh(open_data("digits"), "lenet", 3).state_dict()
    usual = weights(learning_rate=0.05)
    assert moved(weights(), usual) == 0  # lenet's own rate, said
    assert moved(weights(schedule="one-cycle"), usual) == 0
    assert moved(start, usual) > 1e-3
    # Gradients are shortened to length 1: with Nesterov momentum two steps are of 1.9 and 2.71
    # rates at most, decay of weights apart.
    assert 0 < moved(start, weights(learning_rate=1e-6)) < 6e-6
    found = [weights(schedule=name) for name in NAMES]
    found += [weights(learning_rate=0.01), weights(batch_size=100)]
    assert all(moved(a, b) > 1e-5 for a, b in itertools.combinations(found, 2))
    again = weights(schedule="step", learning_rate=0.01, batch_size=100)
    assert moved(again, weights(schedule="step", learning_rate=0.01, batch_size=100)) == 0


def test_a_loss_that_diverges_is_an_error():
    data = open_data("digits")
    with pytest.raises(InputError, match=r"finite loss[^$]*\nHint: try another --seed"):
        fit(data, "lenet", epochs=2, learning_rate=1e12)


def test_lenet_reads_digits_with_a_seed_that_used_to_diverge():
    data = open_data("digits", seed=1)
    model, _ = fit(data, "lenet", epochs=4, seed=1)
    assert accuracy(model, data, "report") >= 0.95


def test_a_network_that_learned_nothing_is_an_error():
    data = open_data("digits")
    with pytest.raises(InputError, match=r"768 training images right, as by guessing 10.*\nHint"):
        fit(data, "lenet", epochs=1, learning_rate=1e-9)


@pytest.mark.parametrize(
    ("right", "losses", "said"),
    [
        ((50, 129), (2.3, 2.29), ""),  # of 1000, ten classes: 128.5 is three errors above chance
        ((50, 128), (2.3, 2.29), "128 of 1000"),
        ((900, 900), (0.5, 0.6), "a loss of 0.600 after one of 0.500"),
        ((900, 900), (0.5, 0.5), ""),
    ],
)
def test_what_shows_that_nothing_was_learned(right, losses, said):
    records = [
        EpochRecord(epoch=i + 1, loss=losses[i], n_correct=right[i], n_images=1000, wall_s=1.0)
        for i in range(2)
    ]
    found = nothing_learned(records, 10)
    assert found.startswith(said) if said else not found
    columns = {name: [getattr(r, name) for r in records] for name in ("epoch", "loss", "n_correct")}
    rows = pa.table(columns | {"n_images": [1000, 1000]})
    assert networks.learned(rows, 10) == (not said)  # so that it is trained again


def test_a_network_that_was_opened_needs_no_training():
    rows = pa.table({"epoch": [0], "loss": [0.0], "n_correct": [0], "n_images": [0]})
    assert networks.learned(rows, 10)


def test_a_killed_classifier_goes_on_from_its_last_epoch(tmp_path, monkeypatch, capsys):
    data = open_data("digits")
    source = networks.Source(
        data="digits", side=None, data_root=None, download=False, model="lenet",
        architecture=None, normalise=None, epochs=2, seed=3,
    )  # fmt: skip
    cell = networks.classifier_cell(source, data)
    killed, straight = (Here(Store(Root(str(tmp_path / name)))) for name in ("a", "b"))
    write = Unfinished.write

    def dies(self, tensors, notes) -> None:
        write(self, tensors, notes)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Unfinished, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            networks.classifier(killed, source, cell, label="classifier")
    capsys.readouterr()
    piece = networks.classifier(killed, source, cell, label="classifier")
    told = capsys.readouterr()
    assert "lenet: epoch 2/2" in told.out + told.err
    assert "epoch 1/2" not in told.out + told.err
    assert networks.classifier(straight, source, cell, label="classifier") == piece
    assert not any((tmp_path / "a" / "training").iterdir())


def test_impossible_requests_are_errors(tmp_path):
    data = open_data("digits")
    with pytest.raises(InputError, match="train:NAME"):
        fit(data, "resnet18", epochs=1)
    for changes in ({"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}):
        with pytest.raises(InputError, match="Hint: for these data 12 epochs"):
            fit(data, "lenet", **({"epochs": 1} | changes))
    for name in ("a", "b"):
        for i in range(2):
            (tmp_path / "val" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16)).save(tmp_path / "val" / name / f"{i}.png")
    val_only = open_data(f"imagefolder:{tmp_path}", side=16)
    model = architecture("lenet", n_classes=2, channels=3, side=16)
    with pytest.raises(InputError, match="train/<class>/"):
        train_classifier(model, val_only, epochs=1)
    with pytest.raises(InputError, match="number of epochs"):
        default_epochs("imagenet")
    assert default_epochs("imagefolder:/somewhere") == 30
