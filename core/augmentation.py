"""Augmentations that robustness to corruptions is compared with, as transforms of training images.

Both are drawn anew in each epoch by their authors; here once for each image, as all of a training
set is made once.
"""

import re
from collections.abc import Sequence

import torch
from torch import Generator

from core.errors import InputError
from core.shapes import Images8

AUGMIX = "augmix"
_PATCH = re.compile(r"patch(\d{1,4})-(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)


def patch_of(name: str) -> tuple[int, float] | None:
    """Side and deviation that a name such as `patch25-0.1` means; None for other names.

    InputError for a side of 0 or a deviation that is not in (0, 1].
    """
    if not (found := _PATCH.fullmatch(name)):
        return None
    side, sigma = int(found[1]), float(found[2])
    if side < 1 or not 0 < sigma <= 1:
        raise InputError(
            f"expected a patch of at least 1 pixel and a deviation in (0, 1], got {name!r}.\n"
            "Hint: patch25-0.1 is a patch of 25 pixels with noise of a tenth of the range."
        )
    return side, sigma


def patch_gaussian(
    images: Images8, *, side: int, sigma: float, generators: Sequence[Generator]
) -> Images8:
    """Noise N(0, sigma^2) of [0, 1] in one square of `side` pixels, clipped, in whole levels.

    Its centre is any pixel, so a part of it may lie outside. Generators are one for each image.

    Source: Lopes, Yin, Poole, Gilmer and Cubuk (2019), "Improving Robustness Without Sacrificing
    Accuracy with Patch Gaussian Augmentation", section 3.
    """
    out = images.clone()
    height, width = images.shape[-2:]
    for image, generator in zip(out, generators, strict=True):
        row, column = (int(torch.randint(n, (), generator=generator)) for n in (height, width))
        top, left = max(0, row - side // 2), max(0, column - side // 2)
        bottom, right = row - side // 2 + side, column - side // 2 + side
        patch = image[:, top:bottom, left:right]
        noise = torch.randn(patch.shape, generator=generator).to(patch.device)
        noisy = patch / 255 + sigma * noise
        patch.copy_((255 * noisy).round().clamp(0, 255))
    return out


def augmix(images: Images8, generators: Sequence[Generator]) -> Images8:
    """Torchvision's AugMix: three chains of up to three operations at severity 3, mixed.

    Without the consistency loss that its authors train with. Generators are one for each image;
    torch's own is left as it was.

    Source: Hendrycks et al. (2020), "AugMix: A Simple Data Processing Method to Improve Robustness
    and Uncertainty", algorithm 1.
    """
    from torchvision.transforms import v2  # noqa: PLC0415 - seconds of import

    mix, made = v2.AugMix(), []
    with torch.random.fork_rng(devices=[]):
        for image, generator in zip(images.cpu(), generators, strict=True):
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            made.append(mix(image))
    return torch.stack(made).to(images.device)
