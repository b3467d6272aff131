"""Classifiers in safetensors files: numbers and text, nothing that can be executed."""

import os
import shlex
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.data.uris import check_path
from core.digests import digest
from core.errors import InputError
from core.models.architectures import input_channels
from core.models.foreign import fitted
from core.models.normalised import Blueprint, Normalised
from core.models.statistics import parse_statistics, published
from core.models.weights import blank, from_tensors, load_weights, to_tensors
from core.standins import stand_in

PICKLES = (b"PK\x03\x04", b"\x80")  # torch's archives, and what it wrote before them

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


def load_foreign(
    path: str | Path, blueprint: Blueprint, normalise: str | None = None
) -> Normalised:
    """Weights saved elsewhere (a state dict), for a named architecture; as `fitted` reads them.

    Images are normalised as `normalise` says (`parse_statistics`), else as the file says (a mean
    and a deviation beside the network), else as published for the architecture's own weights.
    InputError for tensors that do not fit, or a gray network whose normalisation nobody says.
    """
    tensors, _ = read_tensors(path)
    n_channels = input_channels(blueprint.architecture, blueprint.channels)
    given = parse_statistics(normalise, n_channels) if normalise else None
    model = blank(blueprint)
    try:
        weights, stated = fitted(tensors, model.backbone.state_dict())
        load_weights(model.backbone, weights)
    except InputError as cause:
        raise InputError(f"{path}: {cause}") from cause
    if n_channels != 3 and not (given or stated):
        raise InputError(
            f"expected a checkpoint that says how gray images were normalised, got {path}.\n"
            "Hint: say it with --normalise MEAN/STD, or wrap the network in core.models.Normalised "
            "and use core.models.save_checkpoint."
        )
    mean, std = given or stated or published(blueprint.architecture)
    return Normalised(model.backbone, mean=mean, std=std, blueprint=blueprint).eval()


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; for any other an InputError, never unpickling."""
    check_path(str(path))
    try:
        with Path(path).open("rb") as raw:
            head = raw.read(200)
    except (OSError, ValueError) as cause:
        found = getattr(cause, "strerror", None) or str(cause)
        raise InputError(
            f"expected a safetensors file at {path}, found none: {found}.\n"
            "Hint: checkpoint:PATH takes the path of one file of this machine."
        ) from cause
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no dict
    except (SafetensorError, OSError, ValueError) as cause:
        found, hint = stand_in(head) or (str(cause), "it is damaged or cut; copy or fetch it again")
        if head.startswith(PICKLES):
            found = "one of torch.save, a pickle, which can run code, so it is not read"
            hint = (
                f"`python -m search weights convert {shlex.quote(str(path))} NEW.safetensors` "
                "takes the numbers out of it and nothing else"
            )
        raise InputError(
            f"expected a whole safetensors file at {path}, found {found}.\nHint: {hint}."
        ) from cause
