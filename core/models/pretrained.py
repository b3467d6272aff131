"""Classifiers whose weights exist already: published ones, and checkpoints."""

import torch

from core.errors import InputError
from core.models.architectures import check_reads, timm_module, torchvision_models
from core.models.checkpoints import load_checkpoint, load_foreign, read_tensors
from core.models.normalised import Blueprint, Normalised
from core.models.spec import parse_spec
from core.models.weights import check_finite


def open_pretrained(
    spec: str,
    *,
    n_classes: int,
    channels: int,
    side: int,
    architecture: str | None = None,
    normalise: str | None = None,
) -> Normalised:
    """The classifier that `spec` names, with its weights, in eval mode on the CPU.

    `spec` is `NAME` (torchvision, its default weights), `timm:NAME` or `checkpoint:PATH`; the
    numbers are the data's. `architecture` is that of a checkpoint saved elsewhere, which has no
    metadata; `normalise` its mean and deviation, as `parse_statistics` reads them. InputError:
    unknown name (before any download), failed download, damaged or unfit checkpoint, another
    number of classes, a side the network cannot read, answers that are no numbers.
    """
    parsed = parse_spec(spec)
    if parsed.source == "train":
        raise InputError(
            f"expected a model that has weights, got {spec!r}, which is trained here.\n"
            "Hint: core.training.classifier.fit trains it."
        )
    if architecture is not None and parsed.source != "checkpoint":
        raise InputError(
            f"expected no separate architecture for {spec!r}, got {architecture!r}.\n"
            "Hint: only checkpoint:PATH takes one, and only for files saved elsewhere."
        )
    if normalise is not None and parsed.source != "checkpoint":
        raise InputError(
            f"expected no normalisation for {spec!r}, which is published with its own, got "
            f"{normalise!r}.\nHint: only checkpoint:PATH takes one, and only for files saved "
            "elsewhere."
        )
    wanted = Blueprint(
        architecture=architecture or spec, n_classes=n_classes, channels=channels, side=side
    )
    if parsed.source == "checkpoint":
        model = _checkpoint(parsed.name, wanted, architecture, normalise)
        _check_answers(parsed.name, model)
        return model
    model = (_timm if parsed.source == "timm" else _torchvision)(spec, wanted)
    check_finite(model.state_dict())
    check_reads(model.backbone, spec, 3, side)
    return model.eval()


def check_fits(spec: str, *, n_classes: int) -> None:
    """InputError where published weights are of another number of classes; nothing is fetched."""
    parsed = parse_spec(spec)
    if parsed.source == "torchvision":
        weights = torchvision_models(spec).get_model_weights(spec).DEFAULT
        _check_classes(spec, len(weights.meta["categories"]), n_classes)
    elif parsed.source == "timm":
        published = timm_module(parsed.name, pretrained=True).get_pretrained_cfg(parsed.name)
        _check_classes(spec, published.num_classes, n_classes)


def _checkpoint(
    path: str, wanted: Blueprint, architecture: str | None, normalise: str | None
) -> Normalised:
    metadata = read_tensors(path)[1]
    if architecture is not None and "architecture" not in metadata:
        return load_foreign(path, wanted, normalise)
    model = load_checkpoint(path)
    found = model.blueprint
    if architecture not in (None, found.architecture):
        raise InputError(
            f"expected a checkpoint of {architecture!r}, found {found.architecture!r} in {path}.\n"
            "Hint: leave the architecture out; this file names its own."
        )
    if normalise is not None:
        raise InputError(
            f"expected no separate normalisation, for {path} says its own, got {normalise!r}.\n"
            "Hint: leave it out."
        )
    _check_classes(path, found.n_classes, wanted.n_classes)
    if (found.channels, found.side) != (wanted.channels, wanted.side):
        raise InputError(
            f"expected a checkpoint for {wanted.channels} channels at side {wanted.side}, found "
            f"{found.channels} at {found.side} in {path}.\n"
            f"Hint: open the data it was trained on, with --side {found.side}."
        )
    return model


def _check_answers(path: str, model: Normalised) -> None:
    """InputError unless the network's answer to a gray image is numbers."""
    shape = model.blueprint
    with torch.inference_mode():
        logits = model(torch.full((1, shape.channels, shape.side, shape.side), 0.5))
    if not bool(torch.isfinite(logits).all()):
        raise InputError(
            f"expected a network that answers with numbers, found NaN or infinity from {path}.\n"
            "Hint: the file is damaged, or was made for another architecture."
        )


def _torchvision(spec: str, wanted: Blueprint) -> Normalised:
    models = torchvision_models(spec)
    weights = models.get_model_weights(spec).DEFAULT
    _check_classes(spec, len(weights.meta["categories"]), wanted.n_classes)
    try:
        # The file is a pickle. Read once with torch's restricted unpickler, which accepts tensors
        # and nothing else, it is safe for the builder, which then reads the same file unrestricted.
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        backbone = models.get_model(spec, weights=weights, progress=False)
    except Exception as cause:
        raise _not_fetched(spec, cause) from cause
    transform = weights.transforms()
    mean, std = transform.mean, transform.std
    if getattr(backbone, "transform_input", False):
        # GoogLeNet and Inception turn ImageNet's normalisation into this one themselves.
        backbone.transform_input = False
        mean = std = (0.5, 0.5, 0.5)
    return Normalised(backbone, mean=mean, std=std, blueprint=wanted)


def _timm(spec: str, wanted: Blueprint) -> Normalised:
    name = spec.removeprefix("timm:")
    timm = timm_module(name, pretrained=True)
    published = timm.get_pretrained_cfg(name)
    _check_classes(spec, published.num_classes, wanted.n_classes)
    try:
        backbone = timm.create_model(name, pretrained=True)
    except Exception as cause:
        raise _not_fetched(spec, cause) from cause
    return Normalised(backbone, mean=published.mean, std=published.std, blueprint=wanted)


def _check_classes(source: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise InputError(
            f"expected a model of {wanted} classes, as the data have, found {found} in "
            f"{source!r}.\nHint: train:NAME trains an architecture on these data; or name another "
            "checkpoint, or the data these weights were trained on. Where a folder holds some of a "
            "network's classes, a file classes.txt in it names all, a line each, in its order."
        )


def _not_fetched(spec: str, cause: Exception) -> InputError:
    # Each library that downloads fails in its own way; all of it means the same to the caller.
    return InputError(
        f"expected to fetch the published weights of {spec!r}, got {type(cause).__name__}: "
        f"{cause}\n"
        "Hint: they are downloaded once and then cached; run once where there is a network, or use "
        "checkpoint:PATH with a file copied here."
    )
