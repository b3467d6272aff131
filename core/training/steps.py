"""What training does with one batch."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.shapes import Labels, Logits, Pixels

State = dict[str, Tensor]


@runtime_checkable
class Step(Protocol):
    """What is done with one batch: at least one update of the weights."""

    def __call__(
        self, model: nn.Module, optimiser: torch.optim.SGD, pixels: Pixels, labels: Labels
    ) -> tuple[Tensor, Logits]:
        """Update; the mean loss, and the logits of the batch, both before the last update."""

    def state(self) -> State:
        """What the next call depends on, beside its arguments."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state."""


class PlainStep:
    """Minimise the cross-entropy."""

    def __call__(
        self, model: nn.Module, optimiser: torch.optim.SGD, pixels: Pixels, labels: Labels
    ) -> tuple[Tensor, Logits]:
        """One update."""
        logits = model(pixels)
        loss = functional.cross_entropy(logits, labels)
        descend(optimiser, loss)
        return loss.detach(), logits.detach()

    def state(self) -> State:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take up."""


def descend(optimiser: torch.optim.SGD, loss: Tensor) -> None:
    """One update of the weights along the gradient of the loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
