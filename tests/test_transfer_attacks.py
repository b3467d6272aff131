"""TI-FGSM and DI-FGSM against torchattack, with its kernel and its draws."""

import math

import pytest
import torch
import torchattack
import torchattack.difgsm
from attacked import generators, noise_images, noise_labels, tiny_network
from torch import nn
from torch.nn import functional

from core import attacks
from core.attacks.transfer import shrunk_and_shifted


def theirs(kind, **settings):
    same = lambda pixels: pixels  # noqa: E731
    return kind(tiny_network(), same, torch.device("cpu"), **settings)


def test_tifgsm_is_torchattacks_with_its_kernel():
    pixels, labels = noise_images() / 255, noise_labels()
    attack = theirs(torchattack.TIFGSM, eps=8 / 255, steps=5, alpha=2 / 255, kern_len=5, n_sig=3)
    kernel = torch.from_numpy(attack.gkern(5, 3))
    # Its momentum never accumulates (the gradient overwrites it), so it equals momentum 0.
    ours = attacks.tifgsm(
        tiny_network(), pixels, labels, kernel=kernel, eps_255=8.0, step_255=2.0, n_steps=5
    )
    torch.testing.assert_close(ours, attack(pixels, labels).detach(), atol=1e-6, rtol=0)


def test_the_kernel_is_the_published_one():
    """Dong et al. (2019), attack_iter.py: gkern(15, 3), here without SciPy."""
    line = [math.exp(-((6 * i / 14 - 3) ** 2) / 2) for i in range(15)]
    kernel = attacks.gaussian_kernel(15)
    for i, j in ((0, 0), (7, 7), (3, 9), (14, 2)):
        assert kernel[i, j] == pytest.approx(line[i] * line[j] / sum(line) ** 2, rel=1e-5)
    assert kernel.sum() == pytest.approx(1, rel=1e-5)


def test_the_kernel_covers_the_same_share_of_an_image():
    sides = {side: attacks.kernel_side(side) for side in (299, 224, 128, 64, 32, 28)}
    assert sides == {299: 15, 224: 11, 128: 7, 64: 3, 32: 3, 28: 3}


class Replay:
    """torch as `torchattack.difgsm` sees it, with our generator's draws in its own order."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def __getattr__(self, name):
        return getattr(torch, name)

    def rand(self, _):
        chance, *self.unit = torch.rand(4, generator=self.generator).double()
        return chance

    def randint(self, low, high, *, size):
        return torch.full(size, low + int(self.unit.pop(0) * (high - low)))


@pytest.mark.parametrize("probability", [0.0, 0.6, 1.0])
def test_difgsm_is_torchattacks_with_the_same_draws(probability, monkeypatch):
    pixels, labels = noise_images() / 255, noise_labels()
    attack = theirs(
        torchattack.DIFGSM, eps=8 / 255, steps=6, alpha=2 / 255, decay=1.0, resize_rate=0.5,
        diversity_prob=probability,
    )  # fmt: skip
    monkeypatch.setattr(torchattack.difgsm, "torch", Replay(7))
    expected = attack(pixels, labels).detach()
    # It draws once for a batch: so do generators of one seed.
    same = [torch.Generator().manual_seed(7) for _ in range(24)]
    ours = attacks.difgsm(
        tiny_network(), pixels, labels, probability=probability, smallest=0.5, generators=same,
        eps_255=8.0, step_255=2.0, n_steps=6, momentum=1.0,
    )  # fmt: skip
    apart = (ours - expected).abs() > 1e-6
    # Momentum sums of six gradients: one within rounding of zero may take the other sign.
    assert apart.float().mean() < 0.002


def test_shrunk_images_are_torchs_nearest_neighbour_on_black():
    """Every size and place, one image each, against interpolate and pad."""
    seen = set()
    pixels = torch.rand(400, 2, 15, 15, generator=torch.Generator().manual_seed(0))
    out = shrunk_and_shifted(pixels, generators(400), probability=1.0, smallest=0.4)
    for image, result, generator in zip(pixels, out, generators(400), strict=True):
        _, size, top, left = torch.rand(4, generator=generator).double().tolist()
        side = 6 + int(size * 9)
        above, before = int(top * (15 - side)), int(left * (15 - side))
        small = functional.interpolate(image[None], size=(side, side), mode="nearest")[0]
        padding = (before, 15 - side - before, above, 15 - side - above)
        assert torch.equal(result, functional.pad(small, padding))
        seen.add(side)
    assert seen == set(range(6, 15))


def test_smoothing_is_a_convolution_of_each_channel_with_the_same_kernel():
    pixels, labels = noise_images()[:4] / 255, noise_labels()[:4]
    inputs = pixels.clone().requires_grad_()
    loss = nn.functional.cross_entropy(tiny_network()(inputs), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, inputs)
    kernel = attacks.gaussian_kernel(5)
    padded = functional.pad(gradient, (2, 2, 2, 2))
    smooth = sum(
        kernel[i, j] * padded[..., i : i + 16, j : j + 16] for i in range(5) for j in range(5)
    )
    expected = (pixels + smooth.sign() / 255).clamp(0, 1)
    ours = attacks.tifgsm(
        tiny_network(), pixels, labels, kernel=kernel, eps_255=1.0, step_255=1.0, n_steps=1
    )
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
