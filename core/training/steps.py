"""What training does with one batch."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.shapes import Labels, Logits, Pixels

State = dict[str, Tensor]


class Step:
    """What is done with one batch: at least one update of the weights, along a loss's gradient."""

    generator: torch.Generator  # where `stream` names it
    clip: float = math.inf  # the gradient's largest length
    stream: ClassVar[str] = ""  # what a state calls the generator; without a name there is none

    def __call__(
        self, model: nn.Module, optimiser: torch.optim.SGD, pixels: Pixels, labels: Labels
    ) -> tuple[Tensor, Logits]:
        """Update; the mean loss, and the logits of the batch, both before the last update."""
        loss, logits = self.loss(model, pixels, labels)
        descend(optimiser, loss, clip=self.clip)
        return loss.detach(), logits.detach()

    def loss(self, model: nn.Module, pixels: Pixels, labels: Labels) -> tuple[Tensor, Logits]:
        """What is minimised, differentiable, and the logits: the cross-entropy."""
        logits = model(pixels)
        return functional.cross_entropy(logits, labels), logits

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


def descend(optimiser: torch.optim.SGD, loss: Tensor, *, clip: float = math.inf) -> None:
    """One update of the weights along the gradient of the loss, shortened to `clip` if longer."""
    optimiser.zero_grad()
    loss.backward()
    if clip < math.inf:
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, clip)
    optimiser.step()
