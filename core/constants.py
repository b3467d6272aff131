"""Constants where they are needed: copied to a device once, and 255 as a divisor."""

import functools

import torch
from torch import Tensor

_WHITE = torch.tensor(255.0)


@functools.cache
def on(constant: Tensor, device: torch.device) -> Tensor:
    """A module's own constant on a device, copied there once and kept for good."""
    with torch.inference_mode(mode=False):  # what is made within may not be differentiated later
        return constant.to(device)


def white(device: torch.device) -> Tensor:
    """255 as a tensor, to divide levels by.

    CUDA divides by a Python number by multiplying with its reciprocal, which makes another pixel of
    126 of the 256 levels; by a tensor it divides, as every CPU does.
    """
    return on(_WHITE, device)
