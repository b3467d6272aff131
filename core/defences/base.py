"""What every defence looks like: pixels in, pixels out, in front of any model."""

import abc
import math
from collections.abc import Sequence

import torch
from torch import nn

from core.codec import Rounding
from core.errors import InputError
from core.shapes import Logits, Pixels

Generators = Sequence[torch.Generator] | None  # one per image


class Defence(nn.Module, abc.ABC):
    """Pixels in [0, 1] to pixels in [0, 1] of the same shape, batch-wise, on any device.

    A randomised defence draws from one CPU generator per image (`core.seeds.generator`): neither
    batch nor device changes what becomes of an image. A deterministic one ignores them.

    `rounding` replaces every rounding inside. With `core.codec.round_through` the value stays
    the same and the derivative is that of all else (BPDA); torch.round's own is zero.
    """

    randomised = False

    @abc.abstractmethod
    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = torch.round
    ) -> Pixels:
        """Defended pixels. InputError where a randomised defence lacks generators."""


class Nothing(Defence):
    """No defence: the pixels themselves."""

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = torch.round
    ) -> Pixels:
        """The same pixels."""
        return pixels


class Defended(nn.Module):
    """A classifier behind a defence; a randomised one may be asked several times.

    Of several draws the mean of the softmax outputs counts, and its logarithm is returned: its
    softmax is that mean. One draw gives the classifier's logits as they are.
    """

    def __init__(self, defence: Defence, classifier: nn.Module, *, n_draws: int = 1) -> None:
        """InputError for no draws, or several of a defence that does the same each time."""
        super().__init__()
        if n_draws < 1 or (n_draws > 1 and not defence.randomised):
            raise InputError(
                f"expected 1 draw, or more of a randomised defence, got {n_draws}.\n"
                "Hint: a deterministic defence does the same each time."
            )
        self.defence, self.classifier, self.n_draws = defence, classifier, n_draws

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = torch.round
    ) -> Logits:
        """Logits, or log of the mean softmax; arguments as `Defence.forward` takes them."""
        draws: list[Logits] = [
            self.classifier(self.defence(pixels, generators, rounding=rounding))
            for _ in range(self.n_draws)
        ]
        if self.n_draws == 1:
            return draws[0]
        log_sum: Logits = torch.stack(draws).log_softmax(-1).logsumexp(0)
        return log_sum - math.log(self.n_draws)


def one_each(generators: Generators, pixels: Pixels) -> Sequence[torch.Generator]:
    """The generators, or an InputError where they are not one per image."""
    n_found = len(generators or ())
    if generators is None or n_found != len(pixels):
        raise InputError(
            f"a randomised defence needs one generator per image, {len(pixels)}, got {n_found}.\n"
            "Hint: core.seeds.generator(seed, image_id) makes one."
        )
    return generators
