"""CIFAR-10-C as its authors publish it: an array of five times the test images per corruption."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from core.data.base import Data
from core.digests import digest
from core.errors import InputError
from core.shapes import Images8

PUBLISHED = "published"


def check_published(data: Data, root: str, names: Sequence[str]) -> None:
    """InputError unless the folder has the corruptions of these data's test images."""
    if data.spec != "cifar10":
        raise InputError(
            f"expected --data cifar10 with published corruptions, got {data.spec!r}.\n"
            "Hint: leave --corrupted-root out; other data are corrupted here."
        )
    labels = _array(root, "labels")
    ours = data.batch("report", range(data.size("report")))[1].numpy()
    at = _places(data, range(data.size("report")))
    if len(labels) < len(ours) or not np.array_equal(np.asarray(labels[: len(ours)])[at], ours):
        raise InputError(
            f"expected in {root}/labels.npy the labels of CIFAR-10's test images, in their order, "
            "found others.\nHint: the published files hold all 10,000, five times over."
        )
    for name in names:
        shape = _array(root, name).shape
        if shape != (5 * len(ours), data.side, data.side, 3):
            raise InputError(
                f"expected {5 * len(ours)} images of {data.side} pixels in {root}/{name}.npy, "
                f"found {shape}.\nHint: severities stand one after another."
            )


def published(data: Data, root: str, name: str, severity: int, indices: Sequence[int]) -> Images8:
    """Test images at positions of the report split after a published corruption."""
    n, array = data.size("report"), _array(root, name)
    rows = (severity - 1) * n + _places(data, indices)
    return torch.from_numpy(np.ascontiguousarray(array[rows])).permute(0, 3, 1, 2).contiguous()


@lru_cache(maxsize=32)
def published_digest(root: str, name: str) -> str:
    """What a published file is, for rows: a hash of its content."""
    return digest("corrupted", arrays=[_array(root, name)])[:16]


def _places(data: Data, indices: Sequence[int]) -> np.ndarray:
    """Where images of the report split stand in the test set: the ends of their names."""
    return np.array([int(data.name("report", i).rpartition("/")[2]) for i in indices])


def _array(root: str, name: str) -> np.ndarray:
    path = Path(root).expanduser() / f"{name}.npy"
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as cause:
        raise InputError(
            f"expected an array of bytes in {path}, found none: {cause}.\n"
            "Hint: --corrupted-root names the folder CIFAR-10-C, unpacked."
        ) from cause
    return array
