"""What tuning may try: whole numbers on grids, and which members of the ensemble are used."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from core.errors import InputError

Setting = Mapping[str, int]  # of every axis

MEMBERSHIP = CategoricalDistribution((True, False))  # a member's parameter: in or out
_MAX_SETTINGS = 2_000_000


@dataclass(frozen=True)
class Axis:
    """One number to tune: `values` rise in equal steps. InputError where they do not."""

    name: str
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        steps = {b - a for a, b in pairwise(self.values)}
        if not self.values or len(steps) > 1 or min(steps, default=1) < 1:
            raise InputError(
                f"{self.name} needs values in equal steps, got {self.values}.\n"
                "Hint: such as 0-64/2."
            )

    @property
    def step(self) -> int:
        """From one value to the next; 1 where there is but one."""
        return self.values[1] - self.values[0] if len(self.values) > 1 else 1

    def __str__(self) -> str:
        first, *more = self.values
        return f"{first}-{more[-1]}/{self.step}" if more else f"{first}"


@dataclass(frozen=True)
class Space:
    """Axes, and members where their membership is searched too rather than enumerated.

    InputError for more settings than can be listed.
    """

    axes: tuple[Axis, ...]
    members: tuple[str, ...] = ()  # searched ones

    def __post_init__(self) -> None:
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

    def said(self) -> dict[str, str]:
        """Each axis for people, by what it is called in a question."""
        return {f"search space: {axis.name}": str(axis) for axis in self.axes}

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Every parameter as Optuna knows it, in a fixed order."""
        numbers: dict[str, BaseDistribution] = {
            a.name: IntDistribution(a.values[0], a.values[-1], step=a.step) for a in self.axes
        }
        return numbers | {use(member): MEMBERSHIP for member in self.members}

    @cached_property
    def _grid(self) -> NDArray[np.int64]:
        """Every setting: [settings, parameters], in a fixed order."""
        columns = [*(axis.values for axis in self.axes), *[(1, 0)] * len(self.members)]
        grid = np.stack([c.ravel() for c in np.meshgrid(*columns, indexing="ij")], axis=1)
        if not self.members:
            return grid
        return grid[grid[:, len(self.axes) :].any(axis=1)]  # no ensemble without a member

    def misfit(self, params: Mapping[str, object]) -> str:
        """Why no setting has these values of some parameters; empty where one has them."""
        allowed: dict[str, tuple[object, ...]] = {axis.name: axis.values for axis in self.axes}
        allowed |= {use(member): MEMBERSHIP.choices for member in self.members}
        for name, value in params.items():
            if name not in allowed:
                return f"expected parameters among {', '.join(allowed)}, found {name!r}"
            if value not in allowed[name]:
                axis = next((str(axis) for axis in self.axes if axis.name == name), "true or false")
                return f"expected {name} of {axis}, found {value!r}"
        if self.members and not any(params.get(use(member), True) for member in self.members):
            return "expected a member to be used, found none"
        return ""

    def nearest_untried(self, wanted: Setting, tried: Iterable[Setting]) -> dict[str, int] | None:
        """The setting nearest to the one wanted, in steps of the grid, that is not tried yet.

        Ties go to the first in the grid's order; None where all are tried.
        """
        names, steps = list(self.distributions), [axis.step for axis in self.axes]
        away = self._grid - [int(wanted[name]) for name in names]
        far = np.abs(away // [*steps, *[1] * len(self.members)]).sum(axis=1)
        seen = {tuple(int(setting[name]) for name in names) for setting in tried}
        for place in far.argsort(kind="stable"):
            setting = tuple(self._grid[place].tolist())
            if setting not in seen:
                return dict(zip(names, setting, strict=True))
        return None


def use(member: str) -> str:
    """The name of the parameter that says whether a member is used, such as use_M90."""
    return f"use_{member}"
