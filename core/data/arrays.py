"""Data small enough to lie in memory: a pool of images and the positions that make each split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from core.data.base import Split, as_split, check_indices
from core.digests import digest
from core.shapes import Images8, Labels


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Images as the source numbers them, uint8 (n, c, h, w), and their int64 labels."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayData:
    """Splits drawn from pools: `pools[split]` is where, `picks[split]` which. See `Data`."""

    spec: str
    classes: tuple[str, ...]
    pools: Mapping[Split, tuple[str, Pool]]  # the name is the first part of an image's name
    picks: Mapping[Split, np.ndarray]
    grouped_by: str = ""

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return int(self.pools["report"][1].images.shape[-1])

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB."""
        return int(self.pools["report"][1].images.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of every image, label and pick."""
        pools = dict(self.pools.values())
        arrays = [part for pool in pools.values() for part in (pool.images, pool.labels)]
        facts = (self.spec, self.classes, tuple(pools), tuple(self.picks))
        return digest(*facts, arrays=[*arrays, *self.picks.values()])

    def size(self, split: str) -> int:
        """How many images the split holds."""
        return len(self.picks[as_split(split)])

    def batch(self, split: str, indices: Sequence[int]) -> tuple[Images8, Labels]:
        """Images (uint8) and labels (int64) at those positions of the split."""
        rows = self._rows(split, indices)
        pool = self.pools[as_split(split)][1]
        return torch.from_numpy(pool.images[rows]), torch.from_numpy(pool.labels[rows])

    def name(self, split: str, index: int) -> str:
        """The pool's name and the position in it, such as "digits/0123"."""
        row = int(self._rows(split, [index])[0])
        name, pool = self.pools[as_split(split)]
        return f"{name}/{row:0{len(str(len(pool.labels) - 1))}d}"

    def group(self, split: str, index: int) -> str:
        """Every image is its own group."""
        return self.name(split, index)

    def _rows(self, split: str, indices: Sequence[int]) -> np.ndarray:
        picks = self.picks[as_split(split)]
        check_indices(split, indices, len(picks))
        return picks[np.asarray(indices, dtype=np.int64)]
