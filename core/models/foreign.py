"""State dicts saved elsewhere: which of their tensors are the network's, and which play no part."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from core.errors import InputError
from core.models.statistics import Statistics

# What counts, profiles, trains or judges a network, or stands for its heads in training alone.
_COUNTER = re.compile(r"(^|\.)num_batches_tracked$")
_UNUSED = re.compile(
    r"(^|\.)(num_batches_tracked|n_averaged|total_ops|total_params|_extra_state"
    r"|relative_position_index|attn_mask)$"
    r"|^(aux\d?|AuxLogits|aux_head|aux_classifier)\."
    r"|^(optimi[sz]ers?|optim|(lr_)?schedulers?|grad_scaler|criterion|loss|loss_fn"
    r"|(train|val|valid|test)_\w+|metrics?|accuracy)\."
)
_STATED = {"mean": "std", "mu": "sigma", "new_mean": "new_std"}  # as wrappers call their buffers


def fitted(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Statistics | None]:
    """The tensors of a network whose state dict is `own`, and the normalisation that stands beside.

    One prefix that all its names share is taken off (`module.`, `_orig_mod.`, `model.`, `1.`).
    Tensors that play no part in evaluation are left out; others come back as they are called, for
    `load_weights` to name. float16 and bfloat16 become float32, which is exact. InputError for
    weights of another kind of number, for float64 that float32 cannot hold, and for several
    networks in one file.
    """
    needed = [name for name in own if not _COUNTER.search(name)]
    prefix, copies = _prefix(tensors, needed)
    taken: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(prefix)
        if name.startswith(prefix) and plain in own:
            taken[plain] = tensor
        elif not _UNUSED.search(plain) and not any(name.startswith(copy) for copy in copies):
            rest[name] = tensor
    stated = _stated(rest)
    weights = {name: _as(name, tensor, own[name]) for name, tensor in taken.items()}
    counters = {name: tensor for name, tensor in own.items() if _COUNTER.search(name)}
    return counters | weights | rest, stated


def _prefix(tensors: Mapping[str, Tensor], needed: list[str]) -> tuple[str, list[str]]:
    """The prefix before the network's names, and those before exact copies of it."""
    longest = max(needed, key=len)
    ends = [name for name in tensors if name == longest or name.endswith(f".{longest}")]
    found = sorted({name.removesuffix(longest) for name in ends} | {""}, key=len)
    n_held = {prefix: sum(prefix + name in tensors for name in needed) for prefix in found}
    whole = [prefix for prefix in found if n_held[prefix] == len(needed)]
    if not whole:
        return max(found, key=lambda prefix: n_held[prefix]), []
    first, *others = whole
    differing = [
        prefix
        for prefix in others
        if not all(torch.equal(tensors[first + n], tensors[prefix + n]) for n in needed)
    ]
    if differing:
        raise InputError(
            f"expected one network, found several whose weights differ: their names begin with "
            f"{', '.join(repr(prefix) for prefix in (first, *differing))}.\n"
            "Hint: `python -m search weights convert FILE OUT.safetensors --prefix "
            f"{differing[0]}` keeps one of them."
        )
    return first, others


def _stated(rest: dict[str, Tensor]) -> Statistics | None:
    """The mean and deviation that stand beside the network, taken out of `rest`."""
    found: list[Statistics] = []
    for name in [name for name in rest if name.rpartition(".")[2] in _STATED]:
        place, dot, own = name.rpartition(".")
        other = place + dot + _STATED[own]
        if other in rest:
            mean, std = (rest.pop(n).double().flatten().tolist() for n in (name, other))
            found.append(Statistics(tuple(mean), tuple(std)))
    if len(set(found)) > 1:
        raise InputError(
            "expected one normalisation, found several beside the network: "
            f"{' and '.join(sorted({each.text for each in found}))}.\n"
            "Hint: save the bare network's state dict, and say --normalise."
        )
    return found[0] if found else None


def _as(name: str, tensor: Tensor, own: Tensor) -> Tensor:
    if _COUNTER.search(name):
        fits = tensor.dtype == own.dtype and tensor.shape == own.shape
        return tensor if fits else own
    if not own.is_floating_point():
        return tensor
    if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        raise InputError(
            f"expected weights in floating point of 16 bits or more, found {name} of "
            f"{tensor.dtype}.\n"
            "Hint: quantised weights mean nothing without their scales; save the network as it "
            "was before it was quantised."
        )
    cast = tensor.to(own.dtype)
    if not torch.equal(cast.to(tensor.dtype).nan_to_num(), tensor.nan_to_num()):
        raise InputError(
            f"expected weights that {own.dtype} holds exactly, found {name} of {tensor.dtype}.\n"
            "Hint: `python -m search weights convert FILE OUT.safetensors` rounds them."
        )
    return cast
