"""Work on many images in batches, smaller ones where a GPU's memory is short."""

from collections.abc import Callable
from typing import TypeVar

import torch

from core.errors import InputError

Result = TypeVar("Result")


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
