"""From a file of torch.save to safetensors: the numbers of one network, and nothing that can run.

torch.load reads it with weights_only=True, which makes tensors and plain containers alone.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from core.errors import InputError
from core.models.checkpoints import PICKLES, read_tensors, write_tensors

# Numbers and options beside the weights, of which nothing is called but their constructor.
_OPTIONS = "Namespace"
_NUMBER = np.float64(0).__reduce__()[0]
_HARMLESS: list[Any] = [
    (SimpleNamespace, f"argparse.{_OPTIONS}"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("f4", "f8", "i8")),
    _NUMBER,
    (_NUMBER, "numpy.core.multiarray.scalar"),  # as NumPy 1 called it
]
_USUAL = ("state_dict.", "model_state_dict.", "model_state.", "model.", "net.", "network.")
_TRAINING = ("optim", "sched", "scaler", "ema_loss", "criterion", "amp")


@dataclass(frozen=True)
class Converted:
    """What was written."""

    n_tensors: int
    place: str  # where in the file they lay, "" for the top
    left_out: tuple[str, ...]  # what lies beside them
    architecture: str | None  # where the file says so
    n_rounded: int  # tensors of float64, now the nearest float32


def convert(source: str | Path, target: str | Path, *, prefix: str = "") -> Converted:
    """Write one network's tensors of `source` to `target`, a new safetensors file.

    `prefix` chooses among several: the tensors whose names, the keys on the way included, begin
    with it. InputError: no such file, one that holds anything but numbers and containers, none or
    several state dicts, a target that is there already or cannot be written.
    """
    content = _read(source)
    place, tensors = _chosen(dict(_dicts(content, "")), prefix, source)
    if Path(target).exists():
        raise InputError(f"expected a new file, found {target} there.\nHint: choose another name.")
    rounded = [name for name, tensor in tensors.items() if tensor.dtype == torch.float64]
    whole = {name: t.float() if t.dtype == torch.float64 else t for name, t in tensors.items()}
    try:
        write_tensors(target, {n: t.clone().contiguous() for n, t in whole.items()}, {})
    except (OSError, ValueError, SafetensorError) as cause:
        raise InputError(
            f"cannot write {target}: {cause}.\nHint: choose another folder."
        ) from cause
    beside = tuple(str(key) for key in content if f"{key}." != place and key not in tensors)
    arch = content.get("arch")
    said = arch if isinstance(arch, str) else None
    return Converted(len(tensors), place, beside, said, len(rounded))


def _chosen(
    found: dict[str, dict[str, Tensor]], prefix: str, source: str | Path
) -> tuple[str, dict[str, Tensor]]:
    if prefix:
        named = {place + name: t for place, held in found.items() for name, t in held.items()}
        found = {
            prefix: {n.removeprefix(prefix): t for n, t in named.items() if n.startswith(prefix)}
        }
        found = {place: held for place, held in found.items() if held}
    for place in (*_USUAL, "", *(found if len(found) == 1 else ())):
        if place in found:
            return place, found[place]
    hint = "--prefix NAME chooses one" if found else "it takes a state dict, and what holds one"
    raise InputError(
        f"expected one network in {source}, found {', '.join(map(repr, found)) or 'none'}.\n"
        f"Hint: {hint}."
    )


def _read(source: str | Path) -> Mapping[Any, Any]:
    try:
        with Path(source).open("rb") as file:
            head = file.read(200)
    except (OSError, ValueError) as cause:
        raise InputError(f"cannot read {source}: {cause}.\nHint: FILE is one file.") from cause
    if not head.startswith(PICKLES):
        return read_tensors(source)[0]
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as cause:  # a damaged file fails in any way
        more = re.search(r"GLOBAL (\S+)|TorchScript", str(cause))
        found = f"{more[1] or 'a TorchScript program'} in it" if more else "it damaged or cut"
        raise InputError(
            f"expected numbers and containers alone in {source}, found {found}.\n"
            "Hint: where it was made, torch.save(model.state_dict(), PATH) writes such a file; a "
            "damaged one is to be copied or fetched again."
        ) from cause
    if not isinstance(content, Mapping):
        raise InputError(
            f"expected a state dict in {source}, found {type(content).__name__}.\n"
            "Hint: it takes what torch.save(model.state_dict(), PATH) wrote."
        )
    return content


def _dicts(content: Mapping[Any, Any], place: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The dictionaries that hold a network's tensors by name, and where they lie."""
    held = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if any(tensor.ndim >= 2 and tensor.is_floating_point() for tensor in held.values()):
        yield place, held
    for key, value in content.items():
        if isinstance(value, Mapping) and not any(w in str(key).lower() for w in _TRAINING):
            yield from _dicts(value, f"{place}{key}.")
