"""Gaussian noise: the plain baseline of every randomised defence."""

import torch

from core.codec import Rounding, round_through
from core.defences.base import Defence, Generators
from core.errors import InputError
from core.seeds import one_each
from core.shapes import Pixels


class GaussianNoise(Defence):
    """Noise N(0, sigma^2) on every pixel value, clipped to [0, 1].

    `Defended` with several draws is the classifier smoothed by that noise: the mean of its softmax
    outputs. Clipping apart, that is randomised smoothing (Cohen, Rosenfeld and Kolter 2019), with
    means instead of votes and without its certificate.
    """

    randomised = True

    def __init__(self, sigma_255: float) -> None:
        """`sigma_255` is the deviation in 1/255 of a pixel; InputError where it is not above 0."""
        super().__init__()
        if not 0 < sigma_255 <= 255:
            raise InputError(
                f"the noise's deviation must lie in 0..255 (1/255 of a pixel), got {sigma_255:g}.\n"
                "Hint: smooth8 has a deviation of 8/255."
            )
        self.sigma_255 = sigma_255

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """One draw; not rounded to 8 bits."""
        each = one_each(generators, len(pixels))
        noise = torch.stack([torch.randn(pixels.shape[1:], generator=g) for g in each])
        return (pixels + self.sigma_255 / 255 * noise.to(pixels)).clamp(0, 1)
