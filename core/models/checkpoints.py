"""Classifiers in safetensors files: numbers and text, nothing that can be executed."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.digests import digest
from core.errors import InputError
from core.models.architectures import input_channels, timm_module
from core.models.normalised import Blueprint, Normalised
from core.models.weights import blank, from_tensors, load_weights, to_tensors

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_DIGEST = "digest"


def save_checkpoint(path: str | Path, model: Normalised) -> None:
    """Write the classifier to a safetensors file, whole or not at all."""
    write_tensors(path, *to_tensors(model))


def write_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all, with a digest that `check_digest` reads."""
    target = Path(path)
    metadata = metadata | {_DIGEST: _digest(tensors, metadata)}
    aside = target.with_name(f"{target.name}.{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, aside, metadata=metadata)
    aside.replace(target)


def check_digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bool:
    """Whether there is a digest; InputError where it is not that of all the rest."""
    if _DIGEST not in metadata:
        return False
    if metadata[_DIGEST] != _digest(tensors, metadata):
        raise InputError(
            "its content is not what its digest says: it was damaged or changed.\n"
            "Hint: copy it anew, or save it again."
        )
    return True


def _digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    names = sorted(tensors)
    kinds = [(str(tensors[name].dtype), tuple(tensors[name].shape)) for name in names]
    texts = sorted((name, text) for name, text in metadata.items() if name != _DIGEST)
    data = (tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy() for name in names)
    return digest(names, kinds, texts, arrays=data)


def load_checkpoint(path: str | Path) -> Normalised:
    """The classifier that `save_checkpoint` wrote, in eval mode on the CPU; else an InputError."""
    tensors, metadata = read_tensors(path)
    try:
        check_digest(tensors, metadata)
        return from_tensors(tensors, metadata)
    except InputError as cause:
        raise InputError(f"{path}: {cause}") from cause


def load_foreign(path: str | Path, blueprint: Blueprint) -> Normalised:
    """Weights saved elsewhere (a backbone's bare state dict), for a named architecture.

    The file does not say how its images were normalised: for timm it is what timm publishes for
    the name, for other networks of three channels ImageNet's mean and deviation. InputError for
    tensors that do not fit, or a gray network, whose normalisation is not known.
    """
    tensors, _ = read_tensors(path)
    name = blueprint.architecture
    if input_channels(name, blueprint.channels) != 3:
        raise InputError(
            f"expected a checkpoint that says how gray images were normalised, got {path}.\n"
            "Hint: wrap the network in core.models.Normalised and use core.models.save_checkpoint."
        )
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    model = blank(blueprint)
    if name.startswith("timm:"):
        plain = name.removeprefix("timm:")
        published = timm_module(plain, pretrained=False).get_pretrained_cfg(plain)
        mean, std = (published.mean, published.std) if published else (mean, std)
    try:
        load_weights(model.backbone, tensors)
    except InputError as cause:
        raise InputError(f"{path}: {cause}") from cause
    return Normalised(model.backbone, mean=mean, std=std, blueprint=blueprint).eval()


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; for any other an InputError, never unpickling."""
    if not Path(path).is_file():
        raise InputError(
            f"expected a safetensors file at {path}, found none.\n"
            "Hint: checkpoint:PATH takes the path of one file."
        )
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError, ValueError) as cause:
        raise InputError(
            f"expected a whole safetensors file at {path}, got: {cause}\n"
            "Hint: .pt and .pth files are pickles, which can run code, so they are not read; turn "
            "one you trust into safetensors with "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)."
        ) from cause
