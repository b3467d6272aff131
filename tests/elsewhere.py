"""Devices that nobody has here: a tensor that claims to be on one, and CUDA's way to divide."""

from collections import Counter

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
PLACE = torch.device("meta")  # autograd needs a runtime for "cuda"


class There(Tensor):
    """A tensor on the CPU that claims to be elsewhere; an `Elsewhere` computes with it."""

    @staticmethod
    def __new__(cls, held: Tensor):
        return Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=PLACE
        )

    def __init__(self, held: Tensor):
        self.held = held

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of Elsewhere")


class Elsewhere(TorchDispatchMode):
    """Runs operations of tensors that are `There`, as strictly as a GPU, and counts.

    `counts["to"]`: copies there; `counts["from"]`: waits for a result, by a copy back, `.item()` or
    a shape that depends on values. An operand on the CPU beside one there is an error, but for
    numbers and indices, which CUDA copies (and waits for).
    """

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        wanted = kwargs.get("device")
        away = [t for t in tree_leaves((args, kwargs)) if isinstance(t, There)]
        if not away and (wanted is None or torch.device(wanted) != PLACE):
            return func(*args, **kwargs)
        back = bool(away) and wanted is not None and torch.device(wanted) != PLACE
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        self._look(func, args, away, back)
        made = func(*tree_map(held, args), **tree_map(held, kwargs))
        if back or not isinstance(made, Tensor | tuple | list):
            return made
        known = {id(t.held): t for t in away}  # what was changed in place stays the same tensor
        return tree_map(lambda t: _there(t, known) if isinstance(t, Tensor) else t, made)

    def _look(self, func, args, away, back):
        waits = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal}
        leaves = [t for t in tree_leaves(args) if isinstance(t, Tensor)]
        masks = func.overloadpacket in {aten.index, aten.index_put, aten.index_put_} and any(
            isinstance(t, Tensor) and t.dtype is torch.bool for t in tree_leaves(args[1])
        )
        here = [t for t in leaves if not isinstance(t, There)]
        if back or func.overloadpacket in waits or masks:
            self.counts["from"] += 1
        elif func.overloadpacket in {aten._to_copy, aten.copy_} and here:
            self.counts["to"] += 1
        elif func.overloadpacket in {aten.index, aten.index_put, aten.index_put_} and here:
            self.counts["to"] += len(here)
        elif away and any(t.ndim for t in here):
            raise RuntimeError(f"{func}: operands on two devices")


def _there(made, known):
    return known[id(made)] if id(made) in known else There(made)


def held(value):
    """What is behind a tensor that claims to be elsewhere."""
    return value.held if isinstance(value, There) else value


class ReciprocalDivision(TorchDispatchMode):
    """What CUDA does where a tensor is divided by a Python number: times its reciprocal."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (aten.div.Tensor, aten.div_.Tensor) and args[0].is_floating_point():
            tensor, by = args
            if not isinstance(by, Tensor):
                times = aten.mul_ if func is aten.div_.Tensor else aten.mul
                return times.Tensor(tensor, torch.tensor(1 / float(by), dtype=tensor.dtype))
        return func(*args, **(kwargs or {}))
