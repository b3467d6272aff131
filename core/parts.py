"""Work on many images in batches, smaller ones where a GPU's memory is short."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from core.errors import InputError

Result = TypeVar("Result")

_BATCH, _MOST, _LEAST = 64, 1024, 8
_PIXELS = 224 * 224  # of an image of which that many keep a GPU busy
_CPU_PIXELS = 64 * 64  # of an image of which that many fit a laptop, gradients and all


def at_a_time(images: Tensor, device: str | torch.device) -> int:
    """How many of these images, [n, c, h, w], a network and its codecs take at once.

    64 of up to 64 px on a CPU, fewer of larger ones, but at least 8: a gradient through 128 of 224
    px took 10 GB. On a GPU 64 of 224 px, as many more as they are smaller, but no more than 1024:
    a small picture's kernels are short, and a card waits for the next one's launch.
    """
    n_pixels = images.shape[-2] * images.shape[-1]
    if torch.device(device).type == "cpu":
        return max(_LEAST, min(_BATCH, _BATCH * _CPU_PIXELS // n_pixels))
    return min(max(_BATCH, _BATCH * _PIXELS // n_pixels), _MOST)


def in_parts(work: Callable[[slice], Result], n: int, size: int) -> list[Result]:
    """What `work` gives for neighbours of at most `size` out of n, in order.

    Where a GPU runs out of memory, the batch is halved and tried again, so `work` must give the
    same when it is asked twice. InputError where one image alone does not fit.
    """
    done: list[Result] = []
    first = 0
    while first < n:
        part = slice(first, min(first + size, n))
        try:
            done.append(work(part))
        except torch.OutOfMemoryError as error:
            if part.stop - first == 1:
                raise InputError(
                    f"a GPU's memory does not hold one image's work: {error}\n"
                    "Hint: a GPU a task (--gpus 1), a larger one, or --gpus 0."
                ) from error
            size = (part.stop - first) // 2
        else:
            first = part.stop
            continue
        torch.cuda.empty_cache()  # only here the failed attempt's tensors are gone
    return done
