"""What tuning may try: whole numbers on grids, and which members of the ensemble are used."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from core.errors import InputError

Setting = Mapping[str, int]  # of every axis

_USE = "use_"  # a member's parameter is called use_M90
_MAX_SETTINGS = 2_000_000


@dataclass(frozen=True)
class Axis:
    """One number to tune: `values` rise in equal steps. InputError where they do not."""

    name: str
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        steps = {b - a for a, b in zip(self.values, self.values[1:], strict=False)}
        if not self.values or len(steps) > 1 or min(steps, default=1) < 1:
            raise InputError(
                f"{self.name} needs values in equal steps, got {self.values}.\n"
                "Hint: such as 0-64/2."
            )

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        step = self.values[1] - self.values[0] if len(self.values) > 1 else 1
        return IntDistribution(self.values[0], self.values[-1], step=step)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.values[0]}"
        return f"{self.values[0]}-{self.values[-1]}/{self.values[1] - self.values[0]}"


@dataclass(frozen=True)
class Space:
    """Axes, and members where their membership is searched too rather than enumerated."""

    axes: tuple[Axis, ...]
    members: tuple[str, ...] = ()  # searched ones

    def __post_init__(self) -> None:
        """InputError for a space that cannot be listed."""
        if self.size > _MAX_SETTINGS:
            raise InputError(
                f"expected at most {_MAX_SETTINGS} settings, got {self.size}.\n"
                "Hint: coarser grids, or --membership enumerate."
            )

    @property
    def size(self) -> int:
        """How many settings there are."""
        n_subsets = 2 ** len(self.members) - 1 if self.members else 1
        return n_subsets * int(np.prod([len(axis.values) for axis in self.axes]))

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Every parameter as Optuna knows it, in a fixed order."""
        numbers = {axis.name: axis.distribution for axis in self.axes}
        return numbers | {use(member): membership() for member in self.members}

    @cached_property
    def _values(self) -> NDArray[np.int64]:
        """Every setting: [settings, parameters], in a fixed order."""
        columns = [np.array(axis.values) for axis in self.axes]
        columns += [np.array([1, 0])] * len(self.members)
        grid = np.stack([c.ravel() for c in np.meshgrid(*columns, indexing="ij")], axis=1)
        if self.members:  # no ensemble without a member
            grid = grid[grid[:, len(self.axes) :].any(axis=1)]
        return grid

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        sizes = [axis.values[1] - axis.values[0] if len(axis.values) > 1 else 1
                 for axis in self.axes]  # fmt: skip
        return np.array([*sizes, *[1] * len(self.members)])

    def nearest_untried(self, wanted: Setting, tried: Iterable[Setting]) -> dict[str, int] | None:
        """The setting nearest to the one wanted, in steps of the grid, that is not tried yet.

        The wanted one where nobody tried it; ties go to the first in the grid's order; None where
        all are tried.
        """
        grid = self._values
        far = np.abs((grid - self._row(wanted)) // self._steps).sum(axis=1)
        seen = [self._row(setting) for setting in tried]
        if seen:
            far[_is_in(grid, np.stack(seen))] = np.iinfo(far.dtype).max
        place = int(far.argmin())
        if far[place] == np.iinfo(far.dtype).max:
            return None
        return dict(zip(self.distributions, map(int, grid[place]), strict=True))

    def _row(self, setting: Setting) -> NDArray[np.int64]:
        return np.array([int(setting[name]) for name in self.distributions])


def _is_in(grid: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows of the grid are among `rows`."""
    both, place = np.unique(np.concatenate([grid, rows]), axis=0, return_inverse=True)
    known = np.zeros(len(both), dtype=np.bool_)
    known[place.reshape(-1)[len(grid) :]] = True
    found: NDArray[np.bool_] = known[place.reshape(-1)[: len(grid)]]
    return found


def use(member: str) -> str:
    """The name of the parameter that says whether a member is used."""
    return f"{_USE}{member}"


def is_use(name: str) -> bool:
    """Whether a parameter of that name stands for a member."""
    return name.startswith(_USE)


def membership() -> CategoricalDistribution:
    """A member's parameter: in or out."""
    return CategoricalDistribution((True, False))


def uses(subset: int, members: Sequence[str]) -> dict[str, bool]:
    """A subset (`core.defences.subsets`) as Optuna's parameters."""
    return {use(member): bool(subset >> i & 1) for i, member in enumerate(members)}
