"""Training a denoiser: noisy images in, the images as they are for a target."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from core import seeds
from core.data import Data
from core.models.denoiser import Denoiser
from core.shapes import Labels, Pixels
from core.training.epochs import Training
from core.training.schedules import cycle
from core.training.steps import PictureStep

LEARNING_RATE, BATCH_SIZE = 6e-3, 8


@dataclass(frozen=True, kw_only=True)
class DenoiseStep(PictureStep):
    """Minimise the mean squared error; Gaussian noise is drawn anew each time, and clipped."""

    sigma: float  # of pixels in [0, 1]
    generator: torch.Generator  # of the noise, on the CPU
    stream: ClassVar[str] = "noise"

    def loss(self, model: nn.Module, pixels: Pixels, labels: Labels) -> tuple[Tensor, Tensor]:
        """The error, and the images that the network makes of noisy ones."""
        del labels
        noise = torch.randn(pixels.shape, generator=self.generator).to(pixels)
        outputs = model((pixels + self.sigma * noise).clamp(0, 1))
        return functional.mse_loss(outputs, pixels), outputs


def denoiser_training(
    data: Data,
    *,
    skips: str,
    sigma: float,
    width: int,
    n_blocks: int,
    epochs: int,
    seed: int,
    device: str | torch.device = "cpu",
) -> Training:
    """Training of a new denoiser by Adam, at its beginning; the rate goes up and down once.

    The seed fixes first weights, order, augmentation and noise. InputError for unknown skips or
    no training images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Denoiser(channels=data.channels, width=width, n_blocks=n_blocks, skips=skips)
    return Training(
        model,
        data,
        step=DenoiseStep(sigma=sigma, generator=seeds.generator(seed, "noise")),
        rate=cycle(LEARNING_RATE, epochs),
        batch_size=BATCH_SIZE,
        seed=seed,
        device=device,
        optimiser=torch.optim.Adam,
    )
