"""How far a picture lies from the original: PSNR and SSIM, one value per image."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from core.errors import InputError
from core.shapes import Pixels

PerImage = Float[Tensor, " n"]

WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian window, in pixels
_C1, _C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 with a range L of 1


def psnr_db(pixels: Pixels, reference: Pixels) -> PerImage:
    """Peak signal-to-noise ratio, -10 log10(MSE) on [0, 1], in dB; infinite where equal."""
    squares = (pixels.to(torch.float64) - reference.to(torch.float64)).square()
    return -10 * squares.mean((1, 2, 3)).log10()


def ssim(pixels: Pixels, reference: Pixels) -> PerImage:
    """Mean structural similarity over channels and over the places where the window fits.

    Gaussian window of 11 pixels and deviation 1.5, K1 = 0.01, K2 = 0.03, weights that sum to 1.
    InputError for sides below 11.

    Source: Wang, Bovik, Sheikh and Simoncelli (2004), section III.B.
    """
    if min(pixels.shape[-2:]) < WINDOW:
        raise InputError(
            f"SSIM's window has {WINDOW} pixels, the images are {tuple(pixels.shape[-2:])}.\n"
            "Hint: use PSNR for images this small."
        )
    ours, theirs = pixels.to(torch.float64), reference.to(torch.float64)
    mean, mean_ref = _windowed(ours), _windowed(theirs)
    variance = _windowed(ours**2) - mean**2
    variance_ref = _windowed(theirs**2) - mean_ref**2
    covariance = _windowed(ours * theirs) - mean * mean_ref
    luminance = (2 * mean * mean_ref + _C1) / (mean**2 + mean_ref**2 + _C1)
    structure = (2 * covariance + _C2) / (variance + variance_ref + _C2)
    return (luminance * structure).mean((1, 2, 3))


def _windowed(planes: Tensor) -> Tensor:
    """Weighted mean in the window around every place where it fits."""
    offset = torch.arange(WINDOW, dtype=planes.dtype, device=planes.device) - WINDOW // 2
    weights = (-(offset**2) / (2 * SIGMA**2)).exp()
    row = (weights / weights.sum()).expand(planes.shape[1], 1, 1, WINDOW)
    along = functional.conv2d(planes, row, groups=planes.shape[1])
    return functional.conv2d(along, row.mT, groups=planes.shape[1])
