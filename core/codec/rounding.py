"""How a codec rounds. The value is always torch.round's; the derivative is the attacker's choice.

torch.round's own derivative is zero. An attacker who goes through a codec puts another in its place
(BPDA: Athalye, Carlini and Wagner 2018, section 4.1), and which one decides what is found: where
the quantiser's step is wide beside what the attacker may change, a derivative that knows how near
the next step is finds more than the identity. The small roundings to whole samples inside a codec
are another matter; there the identity serves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from core import spec
from core.errors import InputError

Rounding = Callable[[Tensor], Tensor]

DERIVATIVES = ("identity", "cubic", "soft", "dithered")
WIDTH = 0.5  # of `soft`


class _Rounded(torch.autograd.Function):
    """torch.round to the bit, its derivative the given slope, the identity's where that is None."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, slope: Tensor | None) -> Tensor:  # noqa: ARG004
        return values.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor | None], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return (gradient if slope is None else gradient * slope), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Tensor | None) -> Tensor:
        (slope,) = ctx.saved_tensors
        return tangent.clone() if slope is None else tangent * slope


def _rounded(values: Tensor, slope: Tensor | None) -> Tensor:
    out: Tensor = _Rounded.apply(values, slope)
    return out


def round_through(values: Tensor) -> Tensor:
    """Rounded, with the derivative of the identity.

    Source: Athalye, Carlini and Wagner (2018), section 4.1 (straight-through).
    """
    return _rounded(values, None) if torch.is_grad_enabled() else values.round()


def cubic(values: Tensor) -> Tensor:
    """Rounded, with the derivative 3 (x - round x)^2: none at a whole number, 3/4 at a tie.

    Source: Shin and Song (2017), "JPEG-resistant adversarial images", section 3; Reich, Debnath,
    Patel and Chakradhar (2024), "Differentiable JPEG: The Devil is in the Details", section 3.
    """
    plain = values.detach()
    return _rounded(values, 3 * (plain - plain.round()) ** 2)


def soft(values: Tensor, *, width: float = WIDTH) -> Tensor:
    """Rounded, with a derivative of 1 / width within width / 2 of a tie, and none elsewhere.

    That is the derivative of what rounding gives on the mean under a uniform dither of that width.
    A width of 1 is the identity.

    Source: Schuchman (1964), "Dither signals and their effect on quantization noise".
    """
    plain = values.detach()
    near = (plain - plain.round()).abs() >= (1 - width) / 2
    return _rounded(values, near.to(values) / width)


@dataclass(frozen=True)
class Surrogate:
    """A rounding whose derivative in the quantiser is another than at all other places."""

    quantiser: Rounding  # of coefficients counted in steps

    def __call__(self, values: Tensor) -> Tensor:
        """Any rounding but the quantiser's."""
        return round_through(values)


def of_quantiser(rounding: Rounding) -> Rounding:
    """How coefficients, counted in steps, are rounded where all else is rounded so."""
    return rounding.quantiser if isinstance(rounding, Surrogate) else rounding


def by_name(name: str, generators: Sequence[torch.Generator] | None = None) -> Rounding:
    """The rounding whose derivative in the quantiser is called `name`, one of DERIVATIVES.

    - `identity`, `cubic`, `soft` (`soft:w=0.25` sets its width);
    - `dithered`: the identity's, at a point that a random dither of the width of a step moves.
      Its values differ from torch.round's: for gradients alone. It draws from a generator an image.

    Raises:
        InputError: another name or other settings.
    """
    head, given = spec.read(name)
    if head == "soft" and set(given) <= {"w"}:
        try:
            width = float(given.get("w", WIDTH))
        except ValueError:
            width = 0.0
        if 0 < width <= 1:
            return Surrogate(partial(soft, width=width))
    elif head in DERIVATIVES and not given:
        made: dict[str, Rounding] = {
            "identity": round_through,
            "cubic": Surrogate(cubic),
            "dithered": Surrogate(partial(_dithered, generators=generators or ())),
        }
        return made[head]
    raise InputError(
        f"expected a derivative among {', '.join(DERIVATIVES)}, got {name!r}.\n"
        "Hint: as in pgd:through=cubic or apgd:through=soft:w=0.25 (a width above 0, at most 1)."
    )


def is_derivative(name: str) -> bool:
    """Whether `by_name` knows the name."""
    try:
        by_name(name)
    except InputError:
        return False
    return True


def _dithered(values: Tensor, *, generators: Sequence[torch.Generator]) -> Tensor:
    shape, dtype = values.shape[1:], values.dtype
    each = generators or [torch.default_generator] * len(values)
    drawn = torch.stack([torch.rand(shape, generator=g, dtype=dtype) - 0.5 for g in each])
    dither = drawn.to(values.device)
    return round_through(values + dither) - dither
