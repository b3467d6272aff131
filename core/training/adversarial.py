"""Adversarial training as the baseline of noisy training: Fast and Free.

Both change pixels by at most `eps_255` / 255. Batch normalisation is in training mode while the
perturbation is found, as in the authors' own code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from core import seeds
from core.attacks import ifgsm
from core.data import Data
from core.errors import InputError
from core.shapes import Labels, Logits, Pixels
from core.training.classifier import LEARNING_RATE
from core.training.epochs import BATCH_SIZE, Training
from core.training.schedules import cycle
from core.training.steps import State, Step, descend

METHODS = ("fast", "free")
FAST_STEP = 1.25  # of eps, Wong et al. 2020, 5.1
FINE_TUNING = 0.01  # the largest learning rate from weights that are good already: ours
N_REPLAYS = 4  # m, Shafahi et al. 2019; the paper's table 1 compares with m = 4


@dataclass(frozen=True, kw_only=True)
class FastStep(Step):
    """FGSM from a uniform random start in the ball, then one update on its result.

    Source: Wong, Rice and Kolter (2020), algorithm 3, step 1.25 eps.
    """

    eps_255: float
    generator: torch.Generator  # of the starts, on the CPU
    stream: ClassVar[str] = "starts"

    def loss(self, model: nn.Module, pixels: Pixels, labels: Labels) -> tuple[Tensor, Logits]:
        """The cross-entropy of pixels that attack the network as it is."""
        eps = self.eps_255
        unit = torch.rand(pixels.shape, generator=self.generator).to(pixels)
        start = (pixels + eps / 255 * (2 * unit - 1)).clamp(0, 1)
        attacked = ifgsm(
            model, pixels, labels, eps_255=eps, step_255=FAST_STEP * eps, n_steps=1, start=start
        )
        return super().loss(model, attacked, labels)


@dataclass(kw_only=True)
class FreeStep(Step):
    """Each batch several times over; one backward pass moves both weights and perturbation.

    The perturbation starts at 0 and is carried over from batch to batch.

    Source: Shafahi et al. (2019), "Adversarial training for free!", algorithm 1.
    """

    eps_255: float
    n_replays: int = N_REPLAYS
    change: Tensor | None = field(default=None, init=False)  # [n, c, h, w], in pixels

    def __call__(
        self, model: nn.Module, optimiser: Optimizer, pixels: Pixels, labels: Labels
    ) -> tuple[Tensor, Logits]:
        """`n_replays` updates; loss and logits are those of the last."""
        eps = self.eps_255 / 255
        change = torch.zeros_like(pixels) if self.change is None else self.change.to(pixels)
        for _ in range(self.n_replays):
            change.requires_grad_()
            logits = model((pixels + change).clamp(0, 1))
            loss = functional.cross_entropy(logits, labels)
            descend(optimiser, loss)
            assert change.grad is not None
            change = (change.detach() + eps * change.grad.sign()).clamp(-eps, eps)
        self.change = change
        return loss.detach(), logits.detach()

    def state(self) -> State:
        """The perturbation."""
        return {} if self.change is None else {"change": self.change}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """The perturbation goes on where it was."""
        self.change = state.get("change")


def adversarial_training(
    model: nn.Module,
    data: Data,
    *,
    method: str,
    eps_255: float,
    epochs: int,
    learning_rate: float = LEARNING_RATE,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Training:
    """Training of one network in place by "fast" or "free", at its beginning.

    An epoch is a pass over the data: free makes `N_REPLAYS` updates for each batch in it. The rate
    goes once up and down over `epochs`, as in plain training and in Wong et al. (2020), 5.
    InputError for an unknown method, numbers out of range, or no training images.
    """
    if method not in METHODS or not 0 <= eps_255 <= 255 or epochs < 1 or not learning_rate > 0:
        raise InputError(
            f"expected fast or free, eps in 0..255 (1/255 of a pixel), 1 epoch or more and a "
            f"positive learning rate, got {method!r}, {eps_255:g}, {epochs} and "
            f"{learning_rate:g}.\nHint: the paper's table has eps 2 and 4."
        )
    step: Step = FreeStep(eps_255=eps_255)
    if method == "fast":
        step = FastStep(eps_255=eps_255, generator=seeds.generator(seed, "starts"))
    rate = cycle(learning_rate, epochs)
    return Training(
        model, data, step=step, rate=rate, batch_size=batch_size, seed=seed, device=device
    )
