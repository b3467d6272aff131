"""Names, normalisation, classifiers as tensors: what goes in comes out, faults are named."""

import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from core.errors import InputError
from core.models import (
    Blueprint,
    Normalised,
    architecture,
    folded,
    from_tensors,
    load_checkpoint,
    needs_training,
    open_pretrained,
    parse_spec,
    save_checkpoint,
    to_tensors,
)

SHAPE = {"n_classes": 10, "channels": 3, "side": 32}


def small(name: str = "small_resnet", **changes) -> Normalised:
    shape = SHAPE | changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = architecture(name, **shape)
    n = shape["channels"]
    blueprint = Blueprint(architecture=name, **shape)
    return Normalised(backbone, mean=[0.4] * n, std=[0.2] * n, blueprint=blueprint).eval()


def fault(hint: str, call, *args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert "expected " in text
    assert "\nHint: " in text
    assert hint in text
    return text


# ---- names


def test_specs_are_taken_apart():
    for text, source, name in [
        ("small_resnet", "train", "small_resnet"),
        ("lenet", "train", "lenet"),
        ("train:resnet18", "train", "resnet18"),
        ("train:timm:resnet18", "train", "timm:resnet18"),
        ("resnet50", "torchvision", "resnet50"),
        ("timm:resnetv2_50", "timm", "resnetv2_50"),
        ("checkpoint:/a:b.safetensors", "checkpoint", "/a:b.safetensors"),
    ]:
        parsed = parse_spec(text)
        assert (parsed.source, parsed.name) == (source, name)
        assert needs_training(text) == (source == "train")


@pytest.mark.parametrize(
    "text", ["", ":", "train:", "timm:", "checkpoint:", "keras:x", "train:timm:", "train:a:b"]
)
def test_other_forms_are_errors(text):
    fault("torchvision", parse_spec, text)


def test_unknown_names_are_found_out_before_any_download(monkeypatch):
    def reached(*_args, **_kwargs):
        raise AssertionError("a download began")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", reached)
    monkeypatch.setattr("timm.create_model", reached)
    fault("did you mean resnet50", open_pretrained, "resnet5", n_classes=1000, channels=3, side=224)
    fault("resnetv2_50", open_pretrained, "timm:resnetv2_5", n_classes=1000, channels=3, side=224)
    fault("resnet50", architecture, "resnet5", **SHAPE)
    fault("found 1000", open_pretrained, "resnet18", **SHAPE)
    fault("train:NAME", open_pretrained, "timm:resnet18", **SHAPE)
    fault("fit", open_pretrained, "small_resnet", **SHAPE)


def test_a_missing_timm_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    fault("pip install", architecture, "timm:resnet18", **SHAPE)


# ---- architectures


@pytest.mark.parametrize(
    ("name", "side", "channels"),
    [
        *[("lenet", 28, 1), ("lenet", 32, 3), ("small_resnet", 28, 1), ("small_resnet", 224, 3)],
        *[("resnet18", 32, 3), ("timm:resnet18", 32, 3), ("vit_b_16", 32, 1)],
    ],
)
def test_logits_of_an_image_do_not_depend_on_its_batch(name, side, channels):
    backbone = architecture(name, n_classes=7, channels=channels, side=side).eval()
    n = 3 if name not in ("lenet", "small_resnet") else channels
    blueprint = Blueprint(architecture=name, n_classes=7, channels=channels, side=side)
    model = Normalised(backbone, mean=[0.5] * n, std=[0.25] * n, blueprint=blueprint).eval()
    pixels = torch.rand(3, channels, side, side)
    with torch.inference_mode():
        together, alone = model(pixels), torch.cat([model(one[None]) for one in pixels])
    assert together.shape == (3, 7)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)  # other summation order


@pytest.mark.parametrize(
    ("name", "side", "n_weights"),
    [
        ("lenet5", 28, 61_706),  # LeCun et al. (1998): 156 + 2,416 + 48,120 + 10,164 + 850
        ("lenet5", 32, 61_706),
        ("mnist_cnn", 28, 799_078),
        ("mnist_cnn_bn", 28, 799_206),
    ],
)
def test_small_networks_have_the_published_number_of_weights(name, side, n_weights):
    network = architecture(name, n_classes=10, channels=1, side=side)
    assert sum(weight.numel() for weight in network.parameters()) == n_weights
    seen = network.train()(torch.rand(4, 1, side, side))
    assert seen.shape == (4, 10)
    assert seen.std(0).min() > 0  # no image is the other


@pytest.mark.parametrize(
    ("name", "n_weights"),
    [
        ("vgg11_small", 9_231_114),
        ("vgg11_1", 1_555_466),
        ("vgg11_2", 669_962),
        ("vgg11_3", 299_274),  # printed: 300,554, with a last layer of 256 inputs, as vgg11_2 has
        ("vgg11_4", 113_610),
        ("vgg11_5", 48_426),
        ("resnet18_small", 11_173_962),
        ("resnet18_1", 4_903_242),
        ("resnet18_2", 1_235_274),
        ("resnet18_3", 326_474),  # printed: 326,374, one digit off
        ("resnet18_4", 116_810),
        ("resnet20", 269_722),
    ],
)
def test_thin_networks_have_the_published_number_of_weights(name, n_weights):
    for side in (32, 64):
        network = architecture(name, n_classes=10, channels=3, side=side)
        assert sum(weight.numel() for weight in network.parameters()) == n_weights
    network = architecture(name, n_classes=7, channels=1, side=32)
    seen, pixels = network(torch.rand(2, 1, 32, 32)), torch.rand(2, 1, 32, 32)
    assert seen.shape == (2, 7)
    torch.testing.assert_close(folded(network)(pixels), network(pixels), atol=1e-4, rtol=1e-4)


def test_the_misprinted_count_is_that_of_a_last_layer_of_256_inputs():
    network = architecture("vgg11_3", n_classes=10, channels=3, side=32)
    network.classifier = nn.Linear(256, 10)
    assert sum(weight.numel() for weight in network.parameters()) == 300_554


def test_a_shortcut_of_resnet20_keeps_every_other_place_between_channels_of_zeros():
    network = architecture("resnet20", n_classes=10, channels=3, side=32)
    block, x = network.layer2[0], torch.rand(2, 16, 8, 8)
    nn.init.zeros_(block.bn2.weight)  # the shortcut alone
    out = block(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
    assert list(network.state_dict())[:2] == ["conv1.weight", "bn1.weight"]  # as checkpoints say


def test_the_activations_of_the_mnist_network_are_those_that_it_answers_from():
    network = architecture("mnist_cnn_bn", n_classes=10, channels=1, side=28).eval()
    first, second = network.activations(torch.rand(2, 1, 28, 28))
    assert (first.shape, second.shape) == ((2, 32, 28, 28), (2, 32, 14, 14))
    assert first.shape[1:].numel() + second.shape[1:].numel() == 31_360  # the report's count
    assert min(first.min(), second.min()) == 0


def test_lenet5_is_padded_and_takes_no_other_side():
    for side in (24, 29, 34, 64):
        with pytest.raises(InputError, match=f"28, 30 or 32 pixels for lenet5, got {side}"):
            architecture("lenet5", n_classes=10, channels=1, side=side)


def test_published_architectures_have_the_published_number_of_weights():
    for name in ("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5"):
        ours = architecture(name, n_classes=1000, channels=3, side=224)
        meta = models.get_model_weights(name).DEFAULT.meta
        assert sum(p.numel() for p in ours.parameters()) == meta["num_params"]


def test_a_side_that_a_network_cannot_read_is_an_error():
    fault("--side", architecture, "alexnet", **SHAPE)
    fault("--side", architecture, "vit_b_16", n_classes=10, channels=3, side=40)
    fault("2 classes", architecture, "lenet", n_classes=1, channels=3, side=32)


def test_normalising_is_a_shift_and_a_scale_and_gray_is_repeated():
    shape = Blueprint(architecture="lenet", **SHAPE)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 0.125]
    model = Normalised(nn.Flatten(), mean=mean, std=std, blueprint=shape)
    gray = torch.rand(2, 1, 8, 8)
    by_hand = torch.stack([(gray[:, 0] - m) / s for m, s in zip(mean, std, strict=True)], 1)
    torch.testing.assert_close(model(gray), by_hand.flatten(1))
    torch.testing.assert_close(model(gray), model(gray.expand(2, 3, 8, 8)))
    fault("one level", Normalised, nn.Flatten(), mean=mean, std=[0.0] * 3, blueprint=shape)


# ---- tensors and files


@pytest.mark.parametrize("name", ["small_resnet", "lenet", "resnet18"])
def test_a_classifier_comes_back_from_tensors_and_from_a_file(name, tmp_path):
    model, pixels = small(name), torch.rand(4, 3, 32, 32)
    state = torch.get_rng_state()
    back = from_tensors(*to_tensors(model))
    save_checkpoint(tmp_path / "a" / "model.safetensors", model)
    loaded = load_checkpoint(tmp_path / "a" / "model.safetensors")
    opened = open_pretrained(f"checkpoint:{tmp_path / 'a' / 'model.safetensors'}", **SHAPE)
    assert torch.equal(state, torch.get_rng_state())
    with torch.inference_mode():
        for other in (back, loaded, opened):
            assert not other.training
            assert other.blueprint == model.blueprint
            assert torch.equal(other(pixels), model(pixels))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model.safetensors"]


def test_tensors_are_copies():
    model = small("lenet")
    tensors, _ = to_tensors(model)
    tensors["mean"].zero_()
    assert model.mean.min() > 0


def test_wrong_weights_are_named():
    tensors, metadata = to_tensors(small())
    first = next(iter(name for name in tensors if name.endswith("stem.weight")))
    for value in (float("nan"), float("inf")):
        bad = {**tensors, first: tensors[first].clone().fill_(value)}
        assert first in fault("learning rate", from_tensors, bad, metadata)
    less = {name: tensor for name, tensor in tensors.items() if name != first}
    assert f"{first} missing" in fault("another architecture", from_tensors, less, metadata)
    more = {**tensors, "extra": torch.zeros(1)}
    assert "extra unexpected" in fault("another architecture", from_tensors, more, metadata)
    fault("of another shape", from_tensors, tensors, {**metadata, "n_classes": "11"})
    fault("missing", from_tensors, tensors, {**metadata, "architecture": "lenet"})
    fault("format", from_tensors, tensors, {})
    fault("format", from_tensors, tensors, {**metadata, "side": "wide"})
    fault("did you mean", from_tensors, tensors, {**metadata, "architecture": "smal_resnet"})


def test_a_checkpoint_for_other_data_says_both_numbers(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, small())
    spec = f"checkpoint:{path}"
    assert "100" in fault("found 10", open_pretrained, spec, **SHAPE | {"n_classes": 100})
    fault("--side 32", open_pretrained, spec, **SHAPE | {"side": 64})
    fault("3 at 32", open_pretrained, spec, **SHAPE | {"channels": 1})
    fault("leave the architecture out", open_pretrained, spec, **SHAPE, architecture="lenet")
    fault("only checkpoint:PATH", open_pretrained, "resnet18", **SHAPE, architecture="lenet")


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_files_of_another_kind_are_refused_and_never_unpickled(tmp_path):
    path, marker = tmp_path / "model.safetensors", tmp_path / "executed"
    fault("found none", load_checkpoint, path)
    fault("found none", load_checkpoint, tmp_path)
    save_checkpoint(path, small())
    whole = path.read_bytes()
    for content in (b"", whole[:4], whole[:200], whole[:-10], pickle.dumps(Bomb(marker))):
        path.write_bytes(content)
        fault("safetensors", load_checkpoint, path)
    torch.save({"a": torch.zeros(1)}, path)
    fault("weights convert", load_checkpoint, path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18"])
def test_bare_weights_need_an_architecture_and_get_imagenets_normalisation(name, tmp_path):
    backbone = architecture(name, **SHAPE).eval()
    path = tmp_path / "foreign.safetensors"
    save_file(backbone.state_dict(), path)
    fault("name their architecture", open_pretrained, f"checkpoint:{path}", **SHAPE)
    model = open_pretrained(f"checkpoint:{path}", **SHAPE, architecture=name)
    pixels = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        torch.testing.assert_close(model(pixels), backbone((pixels - mean) / std))
    wrong = name.replace("18", "34")
    fault("missing", open_pretrained, f"checkpoint:{path}", **SHAPE, architecture=wrong)


def test_bare_gray_weights_do_not_say_their_normalisation(tmp_path):
    save_file(architecture("lenet", n_classes=10, channels=1, side=28).state_dict(), tmp_path / "a")
    shape = {"n_classes": 10, "channels": 1, "side": 28}
    spec = f"checkpoint:{tmp_path / 'a'}"
    fault("save_checkpoint", open_pretrained, spec, **shape, architecture="lenet")


# ---- published weights


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_published_weights_see_what_torchvision_shows_them(name, monkeypatch):
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, **_: tensor)  # seconds
    torch.manual_seed(1)
    options = {"init_weights": False} if name == "googlenet" else {}
    theirs = models.get_model(name, weights=None, **options).eval()
    unrestricted = []

    def fetch(_url, *_args, weights_only=False, **_kwargs):
        unrestricted.append(not weights_only)
        return theirs.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    ours = open_pretrained(name, n_classes=1000, channels=3, side=224)
    assert not unrestricted[0]
    if name == "googlenet":
        theirs.transform_input = True
    pixels = torch.rand(2, 3, 224, 224)
    transform = models.get_model_weights(name).DEFAULT.transforms()
    mean, std = (torch.tensor(x)[:, None, None] for x in (transform.mean, transform.std))
    with torch.inference_mode():
        expected = theirs((pixels - mean) / std)
        torch.testing.assert_close(ours(pixels), expected, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(from_tensors(*to_tensors(ours))(pixels), ours(pixels))


def test_no_network_says_what_to_do(monkeypatch):
    def offline(*_args, **_kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    monkeypatch.setattr("timm.create_model", offline)
    shape = {"n_classes": 1000, "channels": 3, "side": 224}
    for spec in ("resnet18", "timm:resnetv2_50"):
        assert "no route to host" in fault("checkpoint:PATH", open_pretrained, spec, **shape)
