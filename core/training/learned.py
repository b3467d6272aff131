"""Training a learned codec: few bits and little error at once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from core import learned, seeds
from core.data import Data
from core.errors import InputError
from core.known import CODEC_LEARNING_RATE
from core.models.weights import load_weights
from core.shapes import Labels, Pixels
from core.training.epochs import Training
from core.training.schedules import cycle
from core.training.steps import PictureStep

LAMBDAS = (0.001, 0.003, 0.005, 0.012, 0.033, 0.05, 0.1)  # of the thesis
BATCH_SIZE, CLIP = 8, 1.0


@dataclass(frozen=True, kw_only=True)
class RateStep(PictureStep):
    """Minimise bits per pixel + lambda times the mean squared error of levels 0..255.

    In place of rounding the latents get uniform noise of the width of a level.

    Source: Balle, Laparra and Simoncelli (2017), equations 9 and 13; levels: their own code.
    """

    distortion_weight: float  # lambda
    generator: torch.Generator  # of the noise, on the CPU
    clip: float = CLIP
    stream: ClassVar[str] = "noise"

    def loss(self, model: nn.Module, pixels: Pixels, labels: Labels) -> tuple[Tensor, Tensor]:
        """The loss, and what the decoder makes of the images."""
        del labels
        assert isinstance(model, learned.Codec)
        priced = model.priced(pixels, self._noisy)
        bpp = priced.bits.mean() / (pixels.shape[-2] * pixels.shape[-1])
        error = (priced.pixels - pixels).square().mean()
        return bpp + self.distortion_weight * 255**2 * error, priced.pixels

    def _noisy(self, latents: Tensor) -> Tensor:
        drawn = torch.rand(latents.shape, generator=self.generator).to(latents)
        return latents + (drawn - 0.5)


def codec_training(
    data: Data,
    *,
    kind: str,
    distortion_weight: float,
    filters: int,
    epochs: int,
    learning_rate: float = CODEC_LEARNING_RATE,
    batch_size: int = BATCH_SIZE,
    seed: int,
    start: Mapping[str, Tensor] | None = None,
    device: str | torch.device = "cpu",
) -> Training:
    """Training of a codec by Adam, at its beginning; the rate goes up and down once.

    `distortion_weight` is lambda, `start` the tensors of a codec of the same shape to begin with.
    The seed fixes first weights, order, augmentation and noise. InputError for another kind, a
    lambda of 0 or less, no training images, or a `start` of another shape.
    """
    if not 0 < distortion_weight < math.inf:
        raise InputError(
            f"expected a lambda above 0, got {distortion_weight:g}.\n"
            "Hint: the thesis' are 0.001 to 0.1."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = learned.blank(kind, channels=data.channels, filters=filters)
    if start is not None:
        load_weights(codec, start)
    return Training(
        codec,
        data,
        step=RateStep(
            distortion_weight=distortion_weight, generator=seeds.generator(seed, "noise")
        ),
        rate=cycle(learning_rate, epochs),
        batch_size=batch_size,
        seed=seed,
        device=device,
        optimiser=torch.optim.Adam,
    )
