"""What a network is made of: its layers with weights, measured on the network itself."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Layer(NamedTuple):
    """One layer with weights; shapes without the images' dimension."""

    name: str
    reads: tuple[int, ...]
    gives: tuple[int, ...]
    n_weights: int
    n_units: int  # values of a convolution's or a linear layer's answer to one image


def layers(network: nn.Module, *, channels: int, side: int) -> list[Layer]:
    """The layers in the order in which they answer to an image."""
    found: list[Layer] = []

    def note(module: nn.Module, seen: tuple[Tensor, ...], answer: Tensor) -> None:
        reads, gives = (tuple(part.shape[1:]) for part in (seen[0], answer))
        n_weights = sum(weight.numel() for weight in module.parameters())
        unit = isinstance(module, nn.Conv2d | nn.Linear)
        name = type(module).__name__
        found.append(Layer(name, reads, gives, n_weights, answer[0].numel() if unit else 0))

    own = [part for part in network.modules() if list(part.parameters(recurse=False))]
    hooks = [part.register_forward_hook(note) for part in own]
    was = network.training
    with torch.inference_mode():
        network.eval()(torch.zeros(1, channels, side, side))
    network.train(was)
    for hook in hooks:
        hook.remove()
    return found
