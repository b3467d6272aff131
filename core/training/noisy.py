"""Noisy training: fine-tuning on images as they are and on compressed images with noise.

J' = xi * J(x, y) + (1 - xi) * J(clip(x_q + N(0, sigma^2)), y)

A chain of networks M90 .. M30 is fine-tuned in this way, each from its predecessor's weights with
x_q at its own quality q, M90 from the classifier M.

Source: "defensive quantization table" paper, 3.4 and equation 9; SGD from a learning rate of 0.005
that each epoch multiplies by 0.94, over 14 or 28 epochs.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from core import codec, seeds
from core.codec import qtable
from core.data import Data
from core.errors import InputError
from core.known import DECAY, LEARNING_RATE, XI
from core.shapes import Labels, Logits, Pixels, QTable
from core.training.epochs import BATCH_SIZE, Rate, Training
from core.training.steps import Step

CODECS = ("ours", "jpeg")


def table_name(codec_name: str, table: str, quality: int) -> str:
    """The table of a quality of 1..100, as `core.codec.qtable.by_name` reads it; else InputError.

    "ours": the searched `table` is quality 50 and is scaled by the IJG rule, our reading of
    "quality"; "jpeg": the standard luminance table, "ijg50", through the same codec.
    """
    if codec_name not in CODECS or (codec_name == "jpeg" and table != "ijg50"):
        raise InputError(
            f"expected the codec ours with any table, or jpeg with ijg50, got {codec_name!r} with "
            f"{table!r}.\nHint: at quality 50 the standard table is ijg50."
        )
    name = f"ijg{quality}" if codec_name == "jpeg" else f"{table}@q{quality}"
    qtable.by_name(name)
    return name


def noisy_images(
    pixels: Pixels, table: QTable, *, sigma_255: float, generator: torch.Generator
) -> Pixels:
    """The pixels through the codec, with Gaussian noise of `sigma_255` / 255, clipped to [0, 1].

    No noise is drawn where `sigma_255` is 0.
    """
    with torch.no_grad():
        compressed = codec.compress(pixels, table)
        if sigma_255 == 0:
            return compressed
        noise = torch.randn(pixels.shape, generator=generator)
        return (compressed + noise.to(compressed) * (sigma_255 / 255)).clamp(0, 1)


def noisy_loss(
    model: nn.Module, pixels: Pixels, noisy: Pixels, labels: Labels, *, xi: float
) -> tuple[Tensor, Logits]:
    """J', differentiable, and the logits of the pixels as they are.

    Both halves go through the network as one batch: batch normalisation then takes its statistics
    from both, the same that it keeps for prediction.
    """
    n = len(pixels)
    logits = model(torch.cat([pixels, noisy]))
    clean = functional.cross_entropy(logits[:n], labels)
    loss = xi * clean + (1 - xi) * functional.cross_entropy(logits[n:], labels)
    return loss, logits[:n]


@dataclass(frozen=True, kw_only=True)
class NoisyStep(Step):
    """One update along the gradient of J'; with xi = 1 that of the cross-entropy alone."""

    table: QTable  # at the network's quality
    sigma_255: float
    xi: float
    generator: torch.Generator  # of the noise, on the CPU: GPUs of two models draw other numbers
    stream: ClassVar[str] = "noise"

    def __post_init__(self) -> None:
        if not 0 <= self.xi <= 1 or not 0 <= self.sigma_255 <= 255:
            raise InputError(
                f"expected xi in 0..1 and sigma in 0..255 (1/255 of a pixel), got xi {self.xi:g} "
                f"and sigma {self.sigma_255:g}.\nHint: the paper's xi is 0.9."
            )

    def loss(self, model: nn.Module, pixels: Pixels, labels: Labels) -> tuple[Tensor, Logits]:
        """J', after compression and noise."""
        if self.xi == 1:  # no second half, which would still move batch normalisation
            return super().loss(model, pixels, labels)
        sigma, generator = self.sigma_255, self.generator
        noisy = noisy_images(pixels, self.table, sigma_255=sigma, generator=generator)
        return noisy_loss(model, pixels, noisy, labels, xi=self.xi)


def decaying(learning_rate: float, decay: float) -> Rate:
    """A learning rate that each epoch multiplies by `decay`."""
    return lambda step, n_batches: learning_rate * decay ** (step // n_batches)


def noisy_training(
    model: nn.Module,
    data: Data,
    *,
    table: QTable,
    sigma_255: float,
    xi: float = XI,
    learning_rate: float = LEARNING_RATE,
    decay: float = DECAY,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Training:
    """Training of one network of the chain, in place, at its beginning.

    Momentum and weight decay are those of all training here; the source names none. InputError for
    numbers out of range or no training images.
    """
    if not learning_rate > 0 or not 0 < decay <= 1:
        raise InputError(
            "expected a positive learning rate and a decay in 0..1, got "
            f"{learning_rate:g} and {decay:g}.\nHint: the paper's are 0.005 and 0.94."
        )
    noise = seeds.generator(seed, "noise")
    step = NoisyStep(table=table, sigma_255=sigma_255, xi=xi, generator=noise)
    rate = decaying(learning_rate, decay)
    return Training(
        model, data, step=step, rate=rate, batch_size=batch_size, seed=seed, device=device
    )
