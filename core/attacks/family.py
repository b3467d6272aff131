"""What the catalogue says of an attack."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from core.attacks.gradients import Differentiable
from core.attacks.norms import L2, LINF, Norm
from core.shapes import Labels, Pixels

# The L2 budget 0.5 is RobustBench's (Croce et al. 2021).
IN_L2: dict[str, Any] = {"norm": L2, "eps_255": 127.5}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What an attack is run with, beside the function, the pixels and the labels."""

    eps_255: float
    step_255: float
    n_steps: int
    n_restarts: int
    norm: Norm
    targeted: bool
    generators: Sequence[torch.Generator]
    settings: Mapping[str, Any]  # complete: the defaults where nothing was given


Runner = Callable[[Differentiable, Pixels, Labels, Call], Pixels]


@dataclass(frozen=True)
class Setting:
    """One setting of an attack beyond its budget and steps."""

    default: int | float | str  # its type is the setting's
    wanted: str  # in words
    valid: Callable[[Any], bool]


@dataclass(frozen=True, kw_only=True)
class Family:
    """An attack's name in the table of `FAMILIES`."""

    run: Runner
    norm: Norm = LINF
    eps_255: float | None = 2.0  # the usual budget; None: it has none
    n_steps: Callable[[float], int] = lambda _: 1  # from the budget
    step_255: Callable[[float], float] | None = None  # from the budget; None: it takes no such step
    random_start: bool = False
    one_step: bool = False
    gradient: bool = True  # whether it asks for one
    counts_steps: bool = True  # whether the number of its steps can be chosen
    settings: dict[str, Setting] = field(default_factory=dict)


def at_least(low: int, default: int | float) -> Setting:  # noqa: PYI041  beartype keeps them apart
    """A number from `low` up, of the default's type."""
    return Setting(default, f"at least {low:g}", lambda value: low <= value < math.inf)


def above_zero(default: float) -> Setting:
    """A positive number."""
    return Setting(default, "above 0", lambda value: 0 < value < math.inf)
