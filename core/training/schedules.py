"""How a learning rate changes in training, by name: its share of the largest one in each step.

`one-cycle`: up along a line in a quarter of the steps, then down to 0 along a cosine; Smith and
Topin (2019), "Super-convergence", in the form of torch's `OneCycleLR`. `cosine`: down to 0 from the
beginning; Loshchilov and Hutter (2017), "SGDR", equation 5, without restarts. `step`: divided by 10
after half of the steps and after three quarters; He et al. (2016), 4.2. `constant`.
"""

import math
from collections.abc import Callable, Mapping

from core.errors import InputError
from core.training.epochs import Rate

WARM_UP = 0.25  # share of all steps in which the learning rate rises
USUAL = "one-cycle"


def one_cycle(done: float) -> float:
    """Share of the learning rate when a share `done` of the steps is done: up, then a cosine."""
    if done < WARM_UP:
        return 0.04 + 0.96 * done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def cosine(done: float) -> float:
    """Down to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * done))


def in_steps(done: float) -> float:
    """The whole, a tenth from the middle, a hundredth from three quarters on."""
    return 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01


SCHEDULES: Mapping[str, Callable[[float], float]] = {  # as core.known names them
    "one-cycle": one_cycle,
    "cosine": cosine,
    "step": in_steps,
    "constant": lambda _: 1.0,
}


def scheduled(name: str, learning_rate: float, epochs: int) -> Rate:
    """A learning rate that is at most the given one, by the schedule of that name.

    InputError for an unknown one.
    """
    if name not in SCHEDULES:
        raise InputError(
            f"expected a schedule among {', '.join(SCHEDULES)}, got {name!r}.\n"
            f"Hint: {USUAL} is the usual one."
        )
    share = SCHEDULES[name]
    return lambda step, n_batches: learning_rate * share(step / (epochs * n_batches))


def cycle(learning_rate: float, epochs: int) -> Rate:
    """A learning rate that goes up to the given one and down to 0 once in so many epochs."""
    return scheduled(USUAL, learning_rate, epochs)
