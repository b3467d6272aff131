"""Weights from elsewhere: what they may be called, how they are normalised, how they are turned."""

import argparse
import shlex
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from core.errors import InputError
from core.models import (
    IMAGENET,
    architecture,
    convert,
    open_pretrained,
    parse_statistics,
    published,
    read_tensors,
)
from search import Lab
from search.__main__ import main
from search.inputs import networks

SHAPE = {"n_classes": 5, "channels": 3, "side": 16}


@pytest.fixture
def bare() -> torch.nn.Module:
    torch.manual_seed(0)
    return architecture("small_resnet", **SHAPE)


def opened(tmp_path, tensors: Mapping[str, Tensor], **how):
    path = tmp_path / "foreign.safetensors"
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
    return open_pretrained(f"checkpoint:{path}", **SHAPE, architecture="small_resnet", **how)


def refused(message: str, call, *args, **how) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call(*args, **how)
    assert "\nHint: " in str(caught.value)


def answers(model, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(pixels)


def prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


# ---- what tensors are called


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "1.", "module.model."])
def test_one_prefix_of_all_names_is_taken_off_and_what_plays_no_part_left_out(
    prefix, bare, tmp_path
):
    needed = {k: t for k, t in bare.state_dict().items() if "num_batches" not in k}
    beside = {
        "n_averaged": torch.tensor(3),
        f"{prefix}stem.total_ops": torch.zeros(1),
        f"{prefix}aux1.fc.weight": torch.zeros(2, 2),
        "optimizer.state.0.exp_avg": torch.zeros(4),
        "criterion.weight": torch.ones(5),
    }
    model = opened(tmp_path, prefixed(needed, prefix) | beside)
    pixels = torch.rand(2, 3, 16, 16)
    mean, std = (torch.tensor(part)[:, None, None] for part in IMAGENET)
    torch.testing.assert_close(answers(model, pixels), answers(bare, (pixels - mean) / std))


def test_what_may_play_a_part_is_refused_by_name(bare, tmp_path):
    state = bare.state_dict()
    more = prefixed(state, "0.") | {"1.weight": torch.eye(5)}
    refused(r"1\.weight unexpected", opened, tmp_path, more)
    less = {name: tensor for name, tensor in state.items() if name != "classifier.bias"}
    refused("classifier.bias missing", opened, tmp_path, prefixed(less, "module."))


def test_a_copy_of_the_network_is_no_second_network(bare, tmp_path):
    state = bare.state_dict()
    both = prefixed(state, "model.") | prefixed(state, "attacker.model.")
    opened(tmp_path, both)
    changed = {name: tensor + 1 for name, tensor in state.items()}
    both = prefixed(state, "model.") | prefixed(changed, "ema.")
    refused("'ema.', 'model.'|'model.', 'ema.'", opened, tmp_path, both)


# ---- what kind of numbers they are


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_that_float32_holds_exactly_are_read(kind, bare, tmp_path):
    rough = torch.bfloat16 if kind == torch.bfloat16 else torch.float16
    state = {k: t.to(rough).to(kind) if "num" not in k else t for k, t in bare.state_dict().items()}
    model = opened(tmp_path, state)
    for name, tensor in state.items():
        if "num" not in name:
            assert torch.equal(model.backbone.state_dict()[name].to(kind), tensor)


def test_other_numbers_are_refused(bare, tmp_path):
    state = bare.state_dict()
    for kind in (torch.int8, torch.int32, torch.bool, torch.float8_e4m3fn):
        wrong = {k: (t * 127).to(kind) if t.ndim > 1 else t for k, t in state.items()}
        refused(f"found .* of {kind}", opened, tmp_path, wrong)
    thirds = {k: t.double() / 3 if t.ndim > 1 else t for k, t in state.items()}
    refused("holds exactly", opened, tmp_path, thirds)
    for value in (float("nan"), float("inf")):
        bad = state | {"stem.weight": torch.full_like(state["stem.weight"], value)}
        refused("finite weights", opened, tmp_path, bad)
    big = {k: torch.full_like(t, 3e38) if t.ndim > 1 else t for k, t in state.items()}
    refused("answers with numbers", opened, tmp_path, big)


# ---- how images are normalised


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("imagenet", *IMAGENET),
        ("none", (0, 0, 0), (1, 1, 1)),
        ("0.5", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("0/0.25", (0, 0, 0), (0.25, 0.25, 0.25)),
        ("0.1,0.2,0.3/0.4,0.5,0.6", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    ],
)
def test_images_are_normalised_as_asked(text, mean, std, bare, tmp_path):
    model = opened(tmp_path, bare.state_dict(), normalise=text)
    pixels = torch.rand(2, 3, 16, 16)
    shift, scale = (torch.tensor(part, dtype=torch.float32)[:, None, None] for part in (mean, std))
    torch.testing.assert_close(answers(model, pixels), answers(bare, (pixels - shift) / scale))
    assert parse_statistics(parse_statistics(text, 3).text, 3) == (mean, std)


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "0.5/0", "0.5/-1", "123.7/58.4", "0.1,0.2/0.5", "nan", "1/2/3", "9" * 5000],
)
def test_other_normalisations_are_refused(text):
    refused("--normalise", parse_statistics, text, 3)


def test_what_the_file_says_goes_before_what_is_published(bare, tmp_path):
    said = {"0.mean": torch.tensor([0.1, 0.2, 0.3]), "0.std": torch.full((1, 3, 1, 1), 0.7)}
    model = opened(tmp_path, prefixed(bare.state_dict(), "1.") | said)
    torch.testing.assert_close(model.mean.flatten(), said["0.mean"])
    torch.testing.assert_close(model.std.flatten(), torch.full((3,), 0.7))
    model = opened(tmp_path, prefixed(bare.state_dict(), "1.") | said, normalise="none")
    assert not model.mean.any()


def test_published_normalisations_are_those_of_the_weights():
    assert published("resnet18") == IMAGENET
    assert published("inception_v3").text == "0.5/0.5"
    assert published("timm:resnetv2_50").text == "0.5/0.5"  # as its page says


def source_of(path, **changes) -> networks.Source:
    fields = dict.fromkeys(networks.Source.__dataclass_fields__, None) | {"digests": ()}
    usual = {"data": "photos", "download": False, "seed": 0, "architecture": "small_resnet"}
    usual |= {"retrain": False}
    return networks.Source(**fields | usual | {"model": f"checkpoint:{path}"} | changes)


class Labelled:
    """Ten images whose labels are what a network says of plain pixels."""

    channels, side, classes, fingerprint = 3, 16, tuple("abcde"), "f"

    def __init__(self, bare: torch.nn.Module) -> None:
        self.images = torch.randint(256, (64, 3, 16, 16), dtype=torch.uint8)
        self.labels = answers(bare, self.images / 255).argmax(1)

    def size(self, _: str) -> int:
        return 64

    def batch(self, _: str, ids: range):
        return self.images[list(ids)], self.labels[list(ids)]


def test_another_normalisation_is_another_network_in_the_store_and_the_usual_is_not(
    bare, tmp_path, capsys
):
    opened(tmp_path, bare.state_dict())
    path, data = tmp_path / "foreign.safetensors", Labelled(bare)
    usual = networks.classifier_cell(source_of(path), data)
    assert "0.485,0.456,0.406/0.229,0.224,0.225" in capsys.readouterr().err
    assert usual.model == "checkpoint:foreign.safetensors"
    assert usual == networks.classifier_cell(source_of(path, normalise="imagenet"), data)
    plain = networks.classifier_cell(source_of(path, normalise="none"), data)
    assert plain.model == "checkpoint:foreign.safetensors, normalised 0/1"
    for wrong in ({"model": "resnet18", "architecture": None}, {"architecture": None}):
        refused("normalise|architecture", networks.classifier_cell,
                source_of(path, normalise="none", **wrong), data)  # fmt: skip


def test_titles_call_a_checkpoint_by_its_name(bare, tmp_path):
    opened(tmp_path, bare.state_dict())
    for how, named in ((None, ""), ("none", ", normalised 0/1")):
        lab = Lab(None, SimpleNamespace(precision="fp32"))
        source = source_of(tmp_path / "foreign.safetensors", normalise=how)
        vars(lab).update(source=source, data=Labelled(bare))
        assert lab.title == f"{lab.images}, checkpoint foreign{named}"


def test_a_normalisation_that_fits_better_is_named(bare, tmp_path, monkeypatch):
    data, (mean, std) = Labelled(bare), (torch.tensor(x)[:, None, None] for x in IMAGENET)
    head, bare.classifier = bare.classifier, torch.nn.Identity()
    plain, shifted = data.images / 255, (data.images / 255 - mean) / std
    means = [answers(bare, pixels).mean(0) for pixels in (plain, shifted)]
    with torch.no_grad():  # class 0 where features are as those of plain pixels
        head.weight.zero_()[0] = means[0] - means[1]
        head.bias.zero_()[0] = -head.weight[0] @ (means[0] + means[1]) / 2
    bare.classifier, data.labels = head, torch.zeros(64, dtype=torch.int64)
    opened(tmp_path, bare.state_dict())
    monkeypatch.setattr(networks, "_open_data", lambda *_: data)
    said: list[str] = []
    place = SimpleNamespace(device="cpu", say=said.append)
    for normalise, wanted in ((None, ["--normalise 0/1?"]), ("none", [])):
        source = source_of(tmp_path / "foreign.safetensors", normalise=normalise)
        made = networks._classifier(source, networks.classifier_cell(source, data), place)
        assert [text.rpartition("Is it ")[2] for text in said] == wanted
        said.clear()
        used = parse_statistics(normalise or "imagenet", 3)
        assert made.tensors["mean"].flatten().tolist() == pytest.approx(used.mean)


def test_a_network_near_guessing_is_warned_of(capsys):
    networks.say_right("m", np.arange(100) < 80, n_classes=10)
    assert capsys.readouterr().err == "m: 80 of 100 benign images right (80.0%)\n"
    networks.say_right("m", np.arange(100) < 14, n_classes=10)
    assert "guessing 10 classes" in capsys.readouterr().err


# ---- files of other kinds


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"../.git/annex/objects/aa/bb/SHA256E-s1--0", "git annex get"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"nonsense" * 9, "damaged"),
    ],
)
def test_what_stands_in_for_a_file_is_named(content, hint, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(content)
    refused(hint, read_tensors, tmp_path / "a.safetensors")
    refused(hint, convert, tmp_path / "a.safetensors", tmp_path / "b")


@pytest.mark.parametrize("path", ["nowhere.safetensors", ".", "a\0b"])
def test_what_is_no_file_is_named(path):
    refused("found none", read_tensors, path)


# ---- converting


def test_the_hint_for_a_training_checkpoint_works_word_for_word(
    bare, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    wrapped = torch.nn.DataParallel(bare)
    optimiser = torch.optim.SGD(bare.parameters(), 0.1)
    torch.save(
        {
            "epoch": 3,
            "arch": "small_resnet",
            "state_dict": wrapped.state_dict(),
            "best": np.float64(0.5),
            "best_acc1": torch.tensor(1.0),
            "args": argparse.Namespace(lr=0.1),
            "optimizer": optimiser.state_dict(),
        },
        "model best.pth.tar",
    )
    with pytest.raises(InputError) as caught:
        open_pretrained("checkpoint:model best.pth.tar", **SHAPE, architecture="small_resnet")
    words = shlex.split(str(caught.value).split("`")[1])
    assert words[:3] == ["python", "-m", "search"]
    assert main(words[3:]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("--model checkpoint:NEW.safetensors --architecture small_resnet")
    model = open_pretrained("checkpoint:NEW.safetensors", **SHAPE, architecture="small_resnet")
    for name, tensor in bare.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor)
    assert main(words[3:]) == 2  # NEW.safetensors is there already


def test_one_of_several_networks_is_chosen_by_its_prefix(bare, tmp_path):
    other = {name: tensor + 1 for name, tensor in bare.state_dict().items()}
    torch.save({"g": bare.state_dict(), "d": other}, tmp_path / "two.pth")
    refused("'g.', 'd.'", convert, tmp_path / "two.pth", tmp_path / "a")
    convert(tmp_path / "two.pth", tmp_path / "a", prefix="d.")
    assert torch.equal(read_tensors(tmp_path / "a")[0]["stem.weight"], other["stem.weight"])
    torch.save({k: t.double() / 3 for k, t in other.items()}, tmp_path / "double.pth")
    assert convert(tmp_path / "double.pth", tmp_path / "b").n_rounded == len(other)


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    for content in ({"a": torch.eye(2), "b": Bomb()}, torch.nn.Linear(2, 2), [torch.eye(2)], {}):
        torch.save(content, tmp_path / "a.pth")
        refused("expected", convert, tmp_path / "a.pth", tmp_path / "b")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:50])
    refused("damaged or cut", convert, tmp_path / "a.pth", tmp_path / "b")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "b").exists()
