"""What training does with one batch."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from core.shapes import Labels, Pixels

State = dict[str, Tensor]


class Step:
    """What is done with one batch: at least one update of the weights, along a loss's gradient."""

    generator: torch.Generator  # where `stream` names it
    clip: float = math.inf  # the gradient's largest length
    stream: ClassVar[str] = ""  # what a state calls the generator; without a name there is none

    def __call__(
        self, model: nn.Module, optimiser: Optimizer, pixels: Pixels, labels: Labels
    ) -> tuple[Tensor, Tensor]:
        """Update; the mean loss, and the batch's outputs, both before the last update."""
        loss, outputs = self.loss(model, pixels, labels)
        descend(optimiser, loss, clip=self.clip)
        return loss.detach(), outputs.detach()

    def loss(self, model: nn.Module, pixels: Pixels, labels: Labels) -> tuple[Tensor, Tensor]:
        """What is minimised, differentiable, and the outputs: the cross-entropy, and logits."""
        logits = model(pixels)
        return functional.cross_entropy(logits, labels), logits

    def n_right(self, outputs: Tensor, labels: Labels) -> Tensor:
        """How many of a batch the outputs get right."""
        return (outputs.argmax(1) == labels).sum()

    def state(self) -> State:
        """What the next call depends on, beside its arguments: the generator."""
        return {self.stream: self.generator.get_state()} if self.stream else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state."""
        if self.stream:
            self.generator.set_state(state[self.stream])


class PlainStep(Step):
    """Minimise the cross-entropy."""

    def __init__(self, *, clip: float = math.inf) -> None:
        self.clip = clip


class PictureStep(Step):
    """Training whose outputs are pictures: there is nothing to get right."""

    def n_right(self, outputs: Tensor, labels: Labels) -> Tensor:
        """None."""
        del outputs
        return torch.zeros_like(labels[0])


def descend(optimiser: Optimizer, loss: Tensor, *, clip: float = math.inf) -> None:
    """One update of the weights along the gradient of the loss, shortened to `clip` if longer."""
    optimiser.zero_grad()
    loss.backward()
    if clip < math.inf:
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, clip)
    optimiser.step()
