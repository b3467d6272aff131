"""Transformed images and networks trained on them, as cells."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from tiny import TinyData, TinySource, lenet

from core import learned, models, seeds
from core.codec import rate, to_images8, to_pixels
from core.corruptions import corrupted
from core.data.arrays import ArrayData, Pool
from core.data.corrupted import PUBLISHED, check_published
from core.defences import GaussianNoise, Learned
from core.errors import InputError
from core.spectrum import log_spectra
from core.transforms import mixed, parts_of, shares_of
from core.transforms import transformed as after
from jobs import augmentation_spectrum
from jobs.corruption_robustness import JOB
from results.files import Root
from results.spectrum import bands, means, text
from search import main
from search.engine.bank import Bank
from search.engine.study import Place
from search.measures import augmented, spectrum, transformed
from search.measures.transformed import Sources

TRAIN = augmented.TrainCell(
    data="digits", side=8, fingerprint="tiny", seed=0, network="lenet", training="none", run=0,
    epochs=3, learning_rate=0.05, batch_size=8, shift=0, pieces=(), tested=(),
)  # fmt: skip
IMAGES = transformed.Cell(
    data="digits", side=8, fingerprint="tiny", seed=3, transform="smooth20", weights="",
    severities="", taken_from="", split="train", first=0, count=48,
)  # fmt: skip


@pytest.fixture
def place(tmp_path) -> Place:
    return Place("cpu", 1, Bank(Root(str(tmp_path))), lambda: "cell", lambda _: None)


def made(study, cell, place):
    return study.evaluate(cell, study.load(cell, place))


def pieces_of(place, *cells) -> tuple[str, ...]:
    study = transformed.study(TinySource(), Sources())
    return tuple(place.bank.put(dict(made(study, cell, place).tensors))[0] for cell in cells)


def test_an_image_after_a_transform_does_not_depend_on_its_block(place):
    study = transformed.study(TinySource(), Sources(kind="imagenet-c"))
    for changes in ({}, {"transform": "fog@2", "severities": "imagenet-c"}):
        whole = made(study, replace(IMAGES, **changes), place)
        part = made(study, replace(IMAGES, first=5, count=6, **changes), place)
        assert torch.equal(part.tensors["images"], whole.tensors["images"][5:11])
        assert np.array_equal(part.columns["sse"], whole.columns["sse"][5:11])
    images, labels = TinyData().batch("train", range(48))
    draws = [seeds.generator(3, "train", i, "fog") for i in range(48)]
    kind = "imagenet-c"
    assert torch.equal(
        whole.tensors["images"], corrupted(images, "fog", 2, generators=draws, kind=kind)
    )
    assert torch.equal(whole.tensors["labels"], labels)
    change = (whole.tensors["images"].double() - images) / 255
    np.testing.assert_allclose(whole.columns["sse"], change.square().sum((1, 2, 3)), rtol=1e-5)


def test_bits_are_those_of_a_codec_and_of_nothing_else(place):
    study = transformed.study(TinySource(), Sources())
    assert set(made(study, IMAGES, place).columns["bits"]) == {None}
    bits = made(study, replace(IMAGES, transform="jpeg20"), place).columns["bits"]
    images, _ = TinyData().batch("train", range(48))
    assert bits == rate.bits_of("jpeg20", images).tolist()


def test_stored_images_are_trained_on_as_if_they_were_transformed_each_time(place):
    pieces = pieces_of(place, replace(IMAGES, count=20), replace(IMAGES, first=20, count=28))
    tensors = [place.bank.get(piece)[0] for piece in pieces]
    data = TinyData()
    assert augmented.data_of(data, "none", [], 0) is data
    images, labels = data.batch("train", range(48))
    draws = [seeds.generator(3, "train", i, "smooth20") for i in range(48)]
    expected = after(images, "smooth20", generators=draws)
    alone = augmented.data_of(data, "smooth20", tensors, 0)
    joined = augmented.data_of(data, "none+smooth20", tensors, 0)
    assert (alone.size("train"), joined.size("train")) == (48, 96)
    assert torch.equal(alone.batch("train", range(48))[0], expected)
    seen, of = joined.batch("train", range(96))
    assert torch.equal(seen, torch.cat([images, expected]))
    assert torch.equal(of, torch.cat([labels, labels]))


def test_a_mixture_has_each_image_once_in_exact_shares(place):
    (piece,) = pieces_of(place, IMAGES)
    data, tensors = TinyData(), place.bank.get(piece)[0]
    plain, labels = data.batch("train", range(48))
    for name, n_plain in (("3*none+1*smooth20", 36), ("3*smooth20+1*none", 12)):
        found = augmented.data_of(data, name, [tensors], 5)
        images, of = found.batch("train", range(48))
        assert found.size("train") == 48
        assert torch.equal(of, labels)
        kept = (images == plain).flatten(1).all(1)
        assert int(kept.sum()) == n_plain
        assert torch.equal(images[~kept], tensors["images"][~kept])
        again, other = (augmented.data_of(data, name, [tensors], seed) for seed in (5, 6))
        assert torch.equal(again.batch("train", range(48))[0], images)
        assert not torch.equal(other.batch("train", range(48))[0], images)


def test_shares_are_of_all_parts_or_of_none():
    assert parts_of("3*none+1*jpeg40") == ("none", "jpeg40")
    assert (shares_of("3*none+1*jpeg40"), shares_of("none+jpeg40")) == ((3, 1), ())
    for wrong in ("2*none", "2*none+jpeg40", "1*none+2*none", "1*+1*none"):
        with pytest.raises(InputError, match=r"3\*none\+1\*jpeg40 each stands once"):
            parts_of(wrong)
    counts = mixed([1, 2, 4], 100, torch.Generator().manual_seed(0)).bincount()
    assert counts.tolist() == [14, 29, 57]  # 14.3, 28.6, 57.1


def test_images_as_they_are_give_the_network_of_plain_training(place):
    cell = replace(TRAIN, training="none")
    run = augmented.begin(TinyData(), cell, "cpu")
    for _ in range(cell.epochs):
        run.epoch()
    stored = made(augmented.train_study(TinySource()), cell, place).tensors
    same = [torch.equal(stored[name], tensor) for name, tensor in run.model.state_dict().items()]
    assert all(same)
    assert len(same) > 5


def test_a_killed_training_goes_on_and_remembers_what_it_counted(place):
    pieces = pieces_of(place, IMAGES)
    tested = pieces_of(place, replace(IMAGES, split="report", count=16))
    cell = replace(TRAIN, training="smooth20", pieces=pieces, tested=tested)
    study = augmented.train_study(TinySource())
    whole = made(study, cell, replace(place, identity=lambda: "other"))

    def dies(text: str) -> None:
        if "epoch 2" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(study, cell, replace(place, say=dies))
    said = []
    again = made(study, cell, replace(place, say=said.append))
    assert len(said) == 1  # the last epoch alone
    assert again.columns["epoch"] == [epoch for epoch in (1, 2, 3) for _ in range(3)]
    assert again.columns["test"] == ["none", "none", "smooth20"] * 3
    for name in set(whole.columns) - {"epoch_wall_s"}:
        assert list(again.columns[name]) == list(whole.columns[name]), name
    assert all(torch.equal(again.tensors[n], t) for n, t in whole.tensors.items())
    right, among = (again.columns[name] for name in ("n_correct", "n_correct_top5"))
    assert among == [16] * 9  # of two classes
    assert max(right) <= 16


def test_counts_are_of_the_first_and_of_the_first_five():
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1, 0], [0.0, 6, 5, 4, 3, 2, 1]])
    images = logits[:, :, None, None] / 255
    parts = iter([(images, torch.tensor([0, 2]))])
    found = augmented.counted(torch.nn.Flatten(), parts, "cpu")
    assert found[1:] == (1, 2, 2)


def test_scores_are_the_networks_own_classes(place):
    network = made(augmented.train_study(TinySource()), TRAIN, place)
    (shown,) = pieces_of(place, replace(IMAGES, split="report", count=16))
    weights = place.bank.put(dict(network.tensors), network.metadata)[0]
    tests = {replace(IMAGES, split="report", count=16): pa.table({"piece": [shown]})}
    trained = {TRAIN: pa.table({"piece": [weights]})}
    cells = list(augmented.cells(trained, tests, block=10))
    assert [(cell.first, cell.count, cell.test) for cell in cells] == [
        (0, 10, "smooth20"),
        (10, 6, "smooth20"),
    ]
    study = augmented.study("any")
    rows = [made(study, cell, place) for cell in cells]
    run = augmented.begin(TinyData(), TRAIN, "cpu")
    for _ in range(TRAIN.epochs):
        run.epoch()
    expected = run.model.eval()(place.bank.get(shown)[0]["images"] / 255).argmax(1)
    assert np.concatenate([r["predicted"] for r in rows]).tolist() == expected.tolist()
    assert np.concatenate([r["image"] for r in rows]).tolist() == list(range(16))


def published_data() -> ArrayData:
    images = np.random.default_rng(0).integers(256, size=(4, 3, 8, 8), dtype=np.uint8)
    pool = Pool(images=images, labels=np.array([3, 1, 2, 0]))
    return ArrayData(
        spec="cifar10", classes=tuple("abcd"), pools={"report": ("cifar10/test", pool)},
        picks={"report": np.array([2, 0, 3, 1])},
    )  # fmt: skip


class Published:
    def open(self, _split: str | None = None) -> ArrayData:
        return published_data()


def test_published_corruptions_are_read_in_the_order_of_the_test_set(tmp_path, place):
    arrays = np.random.default_rng(1).integers(256, size=(20, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "fog.npy", arrays)
    np.save(tmp_path / "labels.npy", np.tile([3, 1, 2, 0], 5))
    root = str(tmp_path)
    check_published(published_data(), root, ["fog"])
    sources = Sources(published=root)
    kind, taken_from = sources.said("fog@2", "report")
    assert kind == PUBLISHED
    assert sources.said("fog@2", "search") == ("cifar10-c", "")
    cell = replace(IMAGES, transform="fog@2", split="report", count=3, severities=kind)
    cell = replace(cell, taken_from=taken_from)
    images = made(transformed.study(Published(), sources), cell, place).tensors["images"]
    expected = arrays[4:8][[2, 0, 3]]
    assert np.array_equal(images.permute(0, 2, 3, 1), expected)

    with pytest.raises(InputError, match="files of fog@2 that the driver sees"):
        made(transformed.study(Published(), sources), replace(cell, taken_from="x"), place)
    with pytest.raises(InputError, match=r"array of bytes in .*snow.npy"):
        check_published(published_data(), root, ["snow"])
    np.save(tmp_path / "snow.npy", arrays[:10])
    with pytest.raises(InputError, match="expected 20 images of 8 pixels"):
        check_published(published_data(), root, ["snow"])
    np.save(tmp_path / "labels.npy", np.zeros(20, dtype=np.int64))
    with pytest.raises(InputError, match="in their order"):
        check_published(published_data(), root, ["fog"])
    with pytest.raises(InputError, match="--data cifar10"):
        check_published(TinyData(), root, ["fog"])


def test_spectra_are_numpys_and_keep_the_energy():
    images = torch.randint(256, (3, 3, 6, 8), generator=torch.Generator().manual_seed(0))
    ours = log_spectra(images.to(torch.uint8)).numpy()
    luma = np.einsum("nchw,c->nhw", images.double().numpy(), [0.299, 0.587, 0.114])
    theirs = np.fft.fftshift(np.log(1 + np.abs(np.fft.fft2(luma))), axes=(1, 2))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    energy = np.square(np.expm1(ours)).sum((1, 2)) / 48
    np.testing.assert_allclose(energy, np.square(luma).sum((1, 2)), rtol=1e-9)  # Parseval


def test_spectra_of_blocks_add_up_to_their_mean(place):
    study = spectrum.study(TinySource())
    rows = []
    for first, count in ((0, 20), (20, 28)):
        cell = replace(IMAGES, transform="none", first=first, count=count)
        columns = study.evaluate(cell, study.load(cell, place))
        rows.append(pd.DataFrame(columns).assign(transform="none"))
    lines = means(pd.concat(rows), ["none"])
    expected = log_spectra(TinyData().batch("train", range(48))[0]).mean(0).numpy()
    np.testing.assert_allclose(lines["mean"].to_numpy().reshape(8, 8), expected)
    middle = lines[(lines["u"] == 0) & (lines["v"] == 0)]
    assert middle["normalised"].item() == 1  # of bright images the constant part is the largest
    assert lines["radius"].max() == pytest.approx(2**0.5)
    both = pd.concat([lines.assign(normalised=lines["radius"]), lines.assign(transform="a")])
    rising = bands(both).query("transform == 'none'")["normalised"].tolist()
    assert rising == sorted(rising)
    said = text(both).splitlines()
    assert [line.split()[0] for line in said[2:]] == ["none", "a"]
    assert [float(x) for x in said[2].split()[1:]] == pytest.approx(rising, abs=5e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "resnet18"], "trained here, got 'resnet18'"),
        (["--network", "vgg11_9"], "got 'vgg11_9'"),
        (["--sets", "none", "none"], "different training sets"),
        (["--sets"], "different training sets"),
        (["--sets", "none", "jpg5"], "no transform of images is called 'jpg5'"),
        (["--corruptions", "fogg"], "expected a corruption among"),
        (["--corruptions", "saturate"], "saturation needs colour"),
        (["--corruptions", "frost", "--frost", "nowhere"], "photographs of frost"),
        (["--corruptions"], "no corruption is left"),
        (["--corrupted-root", "nowhere"], "--data cifar10"),
        (["--model", "lenet5"], "so --model does not matter"),
    ],
)
def test_what_the_study_cannot_ask_is_said_before_all_work(words, message, tmp_path, capsys):
    smoke = ["--smoke", "--here", "--store", str(tmp_path)]
    assert main(JOB, [*smoke, *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "\nHint: " in said
    assert "run in" not in said


def test_a_learned_codec_of_the_bank_is_a_transform_with_its_own_bits(place):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = learned.blank("bls", channels=1, filters=4)
    codec.settle()
    piece = place.bank.put(*learned.to_tensors(codec))[0]
    cell = replace(IMAGES, transform="bls:lambda=0.012", weights=piece, count=6)
    study = transformed.study(TinySource(), Sources())
    made_of = made(study, cell, place)
    images, _ = TinyData().batch("train", range(6))
    with torch.inference_mode():
        expected = to_images8(Learned(codec)(to_pixels(images)))
        strings = codec.eval().encode(codec.latents(to_pixels(images)))
    assert torch.equal(made_of.tensors["images"], expected)
    assert made_of.columns["bits"] == [string.n_bits for string in strings]
    with pytest.raises(InputError, match="as bls@PIECE, got"):
        made(study, replace(cell, weights=""), place)


@pytest.mark.parametrize("wrong", ["bls:lambda=0.5", "none+bls:lambda=0.5"])
def test_a_codec_that_the_store_lacks_is_said_with_the_command_that_makes_it(
    wrong, tmp_path, capsys
):
    words = ["--smoke", "--here", "--store", str(tmp_path), "--sets", "none", wrong]
    assert main(JOB, words) == 2
    said = capsys.readouterr().err
    assert "the store holds no bls:lambda=0.5" in said
    assert "jobs/rate_distortion.py trains codecs" in said


def test_spectra_of_no_set_are_refused(tmp_path, capsys):
    words = ["--data", "digits", "--here", "--store", str(tmp_path), "--sets"]
    assert main(augmentation_spectrum.JOB, words) == 2
    assert "expected --sets to transform by, got none" in capsys.readouterr().err


def test_a_network_behind_a_defence_classifies_what_the_defence_leaves(place):
    weights = place.bank.put(*models.to_tensors(lenet(2)))[0]
    (piece,) = pieces_of(place, replace(IMAGES, transform="none", split="report", count=16))
    shared = {n: getattr(TRAIN, n) for n in augmented.Network.__dataclass_fields__}
    cell = augmented.Cell(
        **shared, weights=weights, test="none", split="report", piece=piece, first=0, count=16
    )
    study = augmented.defended_study("behind")

    def predicted(front: str, first: int = 0, count: int = 16) -> np.ndarray:
        own = augmented.DefendedCell(**vars(cell), defence="d", front=front)
        return made(study, replace(own, first=first, count=count), place)["predicted"]

    images, _ = TinyData().batch("report", range(16))
    draws = [seeds.generator(TRAIN.seed, "defended", i) for i in range(16)]
    with torch.inference_mode():
        expected = lenet(2)(GaussianNoise(90.0)(to_pixels(images), draws)).argmax(1).numpy()
    bare = made(augmented.study("bare"), cell, place)["predicted"]
    assert np.array_equal(predicted("none"), bare)
    assert not np.array_equal(expected, bare)
    assert np.array_equal(predicted("smooth90"), expected)
    assert np.array_equal(predicted("smooth90", 5, 7), expected[5:12])
