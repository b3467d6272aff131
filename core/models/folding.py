"""Batch normalisation folded into the convolutions before it: the same function, fewer passes."""

import copy
import inspect
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Model = TypeVar("Model", bound=nn.Module)


def folded(model: Model) -> Model:
    """A copy of a model in evaluation mode whose convolutions do what their batch norms did.

    Logits agree up to rounding. Only a `Conv2d` whose output goes to one `BatchNorm2d` and nowhere
    else is folded. A model without batch norms, or that cannot be traced, comes back itself.

    Source: Jacob et al. (2018), "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", section 3.2 (equation 14).
    """
    if not any(type(module) is nn.BatchNorm2d for module in model.modules()):
        return model
    try:
        root = nn.Sequential(copy.deepcopy(model))
        graph = _Tracer().trace(root)
    except Exception:  # noqa: BLE001 - what cannot be copied or followed stays as it is
        return model
    modules = dict(root.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    n_calls = Counter(str(node.target) for node in calls)
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    for node in calls:
        before = node.args[0] if node.args else None
        if not (isinstance(before, fx.Node) and before.op == "call_module"):
            continue
        names = str(before.target), str(node.target)
        convolution, norm = (modules[name] for name in names)
        if (
            type(convolution) is nn.Conv2d
            and type(norm) is nn.BatchNorm2d
            and norm.track_running_stats
            and len(before.users) == 1
            and all(n_calls[name] == 1 and name not in read for name in names)
            and not convolution._forward_pre_hooks  # noqa: SLF001 - such as an old weight norm
        ):
            root.set_submodule(names[0], fuse_conv_bn_eval(convolution, norm))
            root.set_submodule(names[1], nn.Identity())
    return cast("Model", root[0])


class _Tracer(fx.Tracer):
    """Looks behind decorators of a forward: those that check types refuse what stands for data."""

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """As fx's own."""
        bare = inspect.unwrap(type(m).forward)
        if bare is not type(m).forward:
            forward = partial(bare, m)
        return super().call_module(m, forward, args, kwargs)
