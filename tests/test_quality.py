"""PSNR and SSIM against scikit-image."""

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from core.codec import quality
from core.errors import InputError


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    crops = [skimage.data.astronaut()[y : y + 40, y : y + 33] for y in (60, 150, 300)]
    reference = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    noise = torch.randn(reference.shape, generator=generator)
    strength = torch.tensor([0.01, 0.05, 0.3]).reshape(3, 1, 1, 1)
    return (reference + strength * noise).clamp(0, 1), reference


def test_psnr_is_scikit_images(pairs):
    ours = quality.psnr_db(*pairs)
    for mine, pixels, reference in zip(ours, *(p.double().numpy() for p in pairs), strict=True):
        theirs = peak_signal_noise_ratio(reference, pixels, data_range=1.0)
        assert float(mine) == pytest.approx(theirs, abs=1e-9)  # float64 on both sides


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_scikit_images(pairs, channels):
    pixels, reference = (p[:, :channels] for p in pairs)
    ours = quality.ssim(pixels, reference)
    for i, mine in enumerate(ours):
        theirs = structural_similarity(
            reference[i].double().numpy(),
            pixels[i].double().numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert float(mine) == pytest.approx(theirs, abs=1e-9)  # float64 on both sides


def test_a_picture_is_its_own_best(pairs):
    _, reference = pairs
    assert torch.equal(quality.ssim(reference, reference), torch.ones(3, dtype=torch.float64))
    assert quality.psnr_db(reference, reference).isposinf().all()


def test_an_error_of_one_level_is_48_db(pairs):
    _, reference = pairs
    off = reference.double() + 1 / 255
    assert quality.psnr_db(off, reference.double()).tolist() == pytest.approx(
        [48.1308] * 3, abs=1e-4
    )


def test_images_below_the_window_are_named():
    with pytest.raises(InputError, match=r"has 11 pixels, the images are \(10, 32\)"):
        quality.ssim(torch.zeros(1, 1, 10, 32), torch.zeros(1, 1, 10, 32))
