"""What training does with one batch."""

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

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
    """One update along the gradient of the cross-entropy; a subclass may have a loss of its own."""

    generator: torch.Generator  # where `stream` names it
    stream: ClassVar[str] = ""  # what a state calls the generator; without a name there is none

    def __call__(
        self, model: nn.Module, optimiser: torch.optim.SGD, pixels: Pixels, labels: Labels
    ) -> tuple[Tensor, Logits]:
        """One update."""
        loss, logits = self.loss(model, pixels, labels)
        descend(optimiser, loss)
        return loss.detach(), logits.detach()

    def loss(self, model: nn.Module, pixels: Pixels, labels: Labels) -> tuple[Tensor, Logits]:
        """What is minimised, differentiable, and the logits."""
        logits = model(pixels)
        return functional.cross_entropy(logits, labels), logits

    def state(self) -> State:
        """The generator's."""
        return {self.stream: self.generator.get_state()} if self.stream else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """What is drawn goes on where it was."""
        if self.stream:
            self.generator.set_state(state[self.stream])


def descend(optimiser: torch.optim.SGD, loss: Tensor) -> None:
    """One update of the weights along the gradient of the loss."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
