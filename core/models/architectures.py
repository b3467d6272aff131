"""Networks by name, with random weights."""

import difflib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch
from torch import nn

from core.errors import InputError
from core.known import OWN
from core.models.normalised import Blueprint
from core.models.own import LeNet, LeNet5, MnistCNN, SmallResNet
from core.models.spec import ModelSpec, parse_spec
from core.models.thin import RESNET18, VGG11, ResNet20, ThinResNet18, ThinVGG


def architecture(name: str, *, n_classes: int, channels: int, side: int) -> nn.Module:
    """A network with random weights from torch's global generator, without normalisation.

    `name` is one of OWN, a classifier of torchvision, or `timm:NAME`; `channels` (1 or
    3) and `side` are the data's. It reads `input_channels(name, channels)` channels and returns
    logits (n, n_classes). InputError: unknown name, no timm, or a side that it cannot read.
    """
    Blueprint(architecture=name, n_classes=n_classes, channels=channels, side=side)
    try:
        backbone = _build(name, n_classes, channels, side)
        check_reads(backbone, name, input_channels(name, channels), side)
    except (RuntimeError, AssertionError, TypeError) as cause:
        raise InputError(
            f"expected {name!r} to build for images of {side} pixels, got: {cause}\n"
            "Hint: choose another --side, or small_resnet, which reads any."
        ) from cause
    return backbone


def input_channels(name: str, channels: int) -> int:
    """How many channels the named network reads, given how many the data have."""
    return channels if name in OWN else 3


def check_reads(backbone: nn.Module, name: str, channels: int, side: int) -> None:
    """Raise an `InputError` if the network cannot read images of that side; ends in eval mode."""
    backbone.eval()
    try:
        with torch.inference_mode():
            backbone(torch.zeros(1, channels, side, side))
    except (RuntimeError, AssertionError, ValueError, IndexError) as cause:
        raise InputError(
            f"expected a side that {name!r} can read, got {side}: {cause}\n"
            "Hint: most published networks read --side 224; small_resnet reads any."
        ) from cause


def check_name(spec: str) -> ModelSpec:
    """Take the text of `--model` apart and see that its network exists, before any long work.

    InputError for text of no known form, or a name that neither torchvision nor timm knows.
    """
    parsed = parse_spec(spec)
    if parsed.source == "timm" or parsed.name.startswith("timm:"):
        timm_module(parsed.name.removeprefix("timm:"), pretrained=parsed.source == "timm")
    elif parsed.source != "checkpoint" and parsed.name not in OWN:
        torchvision_models(parsed.name)
    return parsed


def torchvision_models(name: str) -> Any:
    """The models of torchvision, one of which is known to have that name; else an InputError."""
    from torchvision import models  # noqa: PLC0415 - seconds that the small networks do without

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(name, "torchvision", (*OWN, *known))
    return models


def timm_module(name: str, *, pretrained: bool) -> ModuleType:
    """timm, once it is known to have a model of that name (with weights, if asked).

    InputError where it is not installed, or has none.
    """
    try:
        import timm  # noqa: PLC0415 - an extra
    except ImportError as cause:
        raise InputError(
            f"expected the package timm for 'timm:{name}', found it is not installed.\n"
            "Hint: pip install 'qtable-sweeps[timm]'"
        ) from cause
    known = timm.list_pretrained() if pretrained or "." in name else timm.list_models()
    # A name without a tag stands for published weights, where there are any.
    default = "." not in name and timm.is_model(name) and timm.models.is_model_pretrained(name)
    if name not in known and not (pretrained and default):
        raise _unknown(name, "timm" + (" with weights" if pretrained else ""), known)
    return timm


def _build(name: str, n_classes: int, channels: int, side: int) -> nn.Module:
    sizes = {"n_classes": n_classes, "channels": channels}
    own: dict[str, Callable[[], nn.Module]] = {
        "small_resnet": lambda: SmallResNet(**sizes, side=side),
        "lenet": lambda: LeNet(**sizes),
        "lenet5": lambda: LeNet5(**sizes, side=side),
        "mnist_cnn": lambda: MnistCNN(**sizes, side=side, normalise=False),
        "mnist_cnn_bn": lambda: MnistCNN(**sizes, side=side, normalise=True),
        "resnet20": lambda: ResNet20(**sizes),
    }
    if name in own:
        return own[name]()
    if name in VGG11:
        return ThinVGG(name, **sizes)
    if name in RESNET18:
        return ThinResNet18(name, **sizes)
    if name.startswith("timm:"):
        plain = name.removeprefix("timm:")
        timm = timm_module(plain, pretrained=False)
        backbone: nn.Module = timm.create_model(plain, pretrained=False, num_classes=n_classes)
        return backbone
    return _torchvision(name, n_classes, side)


def _torchvision(name: str, n_classes: int, side: int) -> nn.Module:
    models = torchvision_models(name)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):  # one tensor of logits, in training too
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": side}
    elif name.startswith("maxvit"):
        options = {"input_size": (side, side)}
    backbone: nn.Module = models.get_model(name, weights=None, num_classes=n_classes, **options)
    return backbone


def _unknown(name: str, where: str, known: Iterable[str]) -> InputError:
    near = difflib.get_close_matches(name, list(known), n=4, cutoff=0.4)
    return InputError(
        f"expected a classifier of {where}, got {name!r}.\n"
        f"Hint: {'did you mean ' + ', '.join(near) + '?' if near else 'names are like resnet50.'}"
    )
