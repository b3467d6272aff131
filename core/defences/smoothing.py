"""Gaussian noise, the plain baseline of every randomised defence, and Gaussian blur."""

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


class GaussianBlur(Defence):
    """Blur by a Gaussian kernel of some side, edges mirrored.

    Its deviation is OpenCV's for a kernel of that side, 0.3 ((side - 1) / 2 - 1) + 0.8 pixels.
    """

    def __init__(self, side: int) -> None:
        """InputError unless the kernel's side is odd and in 3..31."""
        super().__init__()
        if side not in range(3, 32, 2):
            raise InputError(
                f"the kernel's side must be odd and in 3..31 pixels, got {side}.\n"
                "Hint: blur3 is the mildest."
            )
        self.side = side

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """Blurred pixels, not rounded to 8 bits. InputError for images below half the kernel."""
        if min(pixels.shape[-2:]) <= self.side // 2:
            raise InputError(
                f"expected images of more than {self.side // 2} pixels for blur{self.side}, got "
                f"{pixels.shape[-2]}x{pixels.shape[-1]}.\nHint: a smaller kernel."
            )
        from torchvision.transforms.v2 import functional  # noqa: PLC0415 - seconds of import

        sigma = 0.3 * ((self.side - 1) / 2 - 1) + 0.8
        blurred: Pixels = functional.gaussian_blur(pixels, [self.side] * 2, [sigma] * 2)
        return blurred.clamp(0, 1)
