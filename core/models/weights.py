"""A classifier as plain tensors and text, and back."""

import re
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn

from core.errors import InputError
from core.models.architectures import architecture, input_channels
from core.models.normalised import Blueprint, Normalised

FORMAT = "qtable-sweeps classifier 1"


def to_tensors(model: Normalised) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All weights and buffers (copies, on the CPU) and the blueprint as text: safetensors' form."""
    held = model.state_dict().items()
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in held}
    fields = {name: str(value) for name, value in asdict(model.blueprint).items()}
    return tensors, {"format": FORMAT, **fields}


def from_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Normalised:
    """The classifier that `to_tensors` took apart, in eval mode on the CPU.

    InputError for metadata of another kind, NaN or infinite weights, tensors that are missing,
    unexpected, of another shape or of another type.
    """
    model = blank(read_blueprint(metadata))
    load_weights(model, tensors)
    if not bool((model.std > 0).all()):
        raise InputError(
            f"expected normalisation by deviations above 0, found {model.std.tolist()}.\n"
            "Hint: the checkpoint is damaged; save it again with core.models.save_checkpoint."
        )
    return model


def read_blueprint(metadata: Mapping[str, str]) -> Blueprint:
    """The blueprint in a file's metadata; an `InputError` if it is none of ours."""
    numbers = [metadata.get(name, "") for name in ("n_classes", "channels", "side")]
    whole = "architecture" in metadata and all(re.fullmatch(r"[0-9]{1,6}", n) for n in numbers)
    if metadata.get("format") != FORMAT or not whole:
        raise InputError(
            f"expected metadata of format {FORMAT!r} with architecture, n_classes, channels and "
            f"side, got {dict(metadata)}.\n"
            "Hint: for weights saved elsewhere, name their architecture as well."
        )
    n_classes, channels, side = map(int, numbers)
    return Blueprint(
        architecture=metadata["architecture"], n_classes=n_classes, channels=channels, side=side
    )


def blank(blueprint: Blueprint) -> Normalised:
    """A classifier of random weights, mean 0 and deviation 1, in eval mode, to be filled.

    torch's global generator is left as it was.
    """
    shape = asdict(blueprint)
    with torch.random.fork_rng(devices=[]):
        backbone = architecture(shape.pop("architecture"), **shape)
    n = input_channels(blueprint.architecture, blueprint.channels)
    return Normalised(backbone, mean=[0.0] * n, std=[1.0] * n, blueprint=blueprint).eval()


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module, or list in an InputError the first that do not fit exactly."""
    expected = module.state_dict()
    shapes = [
        f"{name} {list(tensors[name].shape)} for {list(own.shape)}"
        for name, own in expected.items()
        if name in tensors and tensors[name].shape != own.shape
    ]
    types = [
        f"{name} {tensors[name].dtype} for {own.dtype}"
        for name, own in expected.items()
        if name in tensors and tensors[name].dtype != own.dtype
    ]
    faults = {
        "missing": sorted(set(expected) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(expected)),
        "of another shape": shapes,
        "of another type": types,
    }
    found = [f"{_first(names)} {kind}" for kind, names in faults.items() if names]
    if found:
        raise InputError(
            f"expected the {len(expected)} tensors of this architecture, found "
            f"{'; '.join(found)}.\nHint: the weights belong to another architecture, side, or "
            "number of classes."
        )
    check_finite(tensors)
    module.load_state_dict(dict(tensors))


def check_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise an `InputError` that names the first tensors which hold NaN or infinity."""
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise InputError(
            f"expected finite weights, found NaN or infinity in {_first(bad)}.\n"
            "Hint: the training that made them diverged; train again with a lower learning rate."
        )


def _first(names: list[str]) -> str:
    """A few of many names."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
