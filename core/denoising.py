"""Gaussian noise, and ways of taking it out that learn nothing."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from core.shapes import Pixels

BASELINES = ("total variation", "non-local means")


def noisy(pixels: Pixels, generators: Sequence[torch.Generator], *, sigma: float) -> Pixels:
    """Pixels with noise of deviation `sigma`, an image's from its own generator; not clipped."""
    noise = [torch.randn(pixels.shape[1:], generator=generator) for generator in generators]
    return pixels + sigma * torch.stack(noise).to(pixels)


def baseline(images: Pixels, name: str, *, sigma: float) -> Pixels:
    """scikit-image's denoisers by name, told how large the noise is.

    Total variation: weight `sigma`; non-local means: its gallery's settings for small noise.
    """
    how = {
        "total variation": partial(denoise_tv_chambolle, weight=sigma),
        "non-local means": partial(
            denoise_nl_means, h=0.8 * sigma, sigma=sigma, patch_size=5, patch_distance=6
        ),
    }[name]
    arrays = images.movedim(1, -1).cpu().numpy()
    # A single channel is dropped, so the shape is restored.
    out = np.stack([how(array, channel_axis=-1).reshape(array.shape) for array in arrays])
    return torch.from_numpy(out).to(images).movedim(-1, 1).clamp(0, 1)
