"""What every defence looks like: pixels in, pixels out, in front of any model."""

import abc
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from core.codec import Rounding, round_through
from core.defences.images import Kind, is_tv, of_any_kind
from core.errors import InputError
from core.shapes import Logits, Pixels

Generators = Sequence[torch.Generator] | None  # one per image


class Defence(nn.Module, abc.ABC):
    """Pixels in [0, 1] to pixels in [0, 1] of the same shape, batch-wise, on any device.

    A randomised defence draws from one CPU generator per image (`core.seeds.generator`): neither
    batch nor device changes what becomes of an image. Without generators it draws anew in every
    call, as torch's global generator says. A deterministic one ignores them.

    `torch.export` takes the deterministic ones, at a fixed size of batch and image.

    `rounding` says what the derivative of every rounding inside is, the value being the same: the
    identity's unless said else, so that every attack goes through (BPDA), a choice of
    `core.codec.rounding.by_name`, or none at all: torch.round.
    """

    def __call__(self, images: Kind, *args: Any, **how: Any) -> Kind:
        """As `forward` for a batch of pixels; else the same kind of images out as in.

        So every defence stands in a torchvision pipeline (`core.defences.images.of_any_kind` says
        of what kinds); where samples carry labels, as `v2.Lambda(defence, PIL.Image.Image)`.
        InputError for what is no image. A batch of pixels is taken as it is, its range unchecked.
        """
        run = super().__call__
        pixels = isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point()
        if pixels and not is_tv(images):
            return cast("Kind", run(images, *args, **how))
        return of_any_kind(lambda pixels: cast("Pixels", run(pixels, *args, **how)), images)

    randomised = False
    quantises = False  # whether the derivative of a quantiser is asked for

    @abc.abstractmethod
    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """Defended pixels. InputError for generators that are not one an image."""


class Nothing(Defence):
    """No defence: the pixels themselves."""

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
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
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
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
