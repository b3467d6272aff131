"""Constants where they are needed: copied to a device once, and 255 as a divisor."""

import functools

import torch
from torch import Tensor

_WHITE = torch.tensor(255.0)


def on(constant: Tensor, device: torch.device) -> Tensor:
    """A module's own constant on a device, copied there once and kept for good."""
    if torch.compiler.is_exporting():  # a copy made now would be of the export alone
        return constant if constant.device == device else constant.to(device)
    return _copied(constant, device)


@functools.cache
def _copied(constant: Tensor, device: torch.device) -> Tensor:
    with torch.inference_mode(mode=False):  # what is made within may not be differentiated later
        return constant.to(device)


def white(device: torch.device) -> Tensor:
    """255 as a tensor, to divide levels by.

    CUDA divides by a Python number by multiplying with its reciprocal, which makes another pixel of
    126 of the 256 levels; by a tensor it divides, as every CPU does.
    """
    return on(_WHITE, device)
