"""FGSM, I-FGSM and PGD against foolbox, in both norms, with targets, momentum and restarts."""

import eagerpy
import foolbox
import pytest
import torch
from attacked import foolbox_of, generators, noise_images, tiny_network
from foolbox.criteria import Misclassification, TargetedMisclassification
from torch import nn

from core import attacks


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return tiny_network()


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return noise_images() / 255


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return torch.randint(0, 5, (24,), generator=torch.Generator().manual_seed(2))


def close(ours, theirs):
    """Both compute in float32, of pixels in [0, 1]: a few units in the last place."""
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def foolbox_run(attack, network, pixels, criterion, eps_255):
    return attack.run(foolbox_of(network), pixels, criterion, epsilon=eps_255 / 255)


def test_fgsm_is_foolboxs(network, pixels, labels):
    theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    expected = foolbox_run(theirs, network, pixels, Misclassification(labels), 3.0)
    close(attacks.fgsm(network, pixels, labels, eps_255=3.0), expected)


def test_fgsm_in_l2_is_foolboxs(network, pixels, labels):
    theirs = foolbox.attacks.L2FastGradientAttack(random_start=False)
    expected = foolbox_run(theirs, network, pixels, Misclassification(labels), 400.0)
    close(attacks.fgsm(network, pixels, labels, eps_255=400.0, norm=attacks.L2), expected)


def test_targeted_fgsm_is_foolboxs_single_targeted_step(network, pixels, labels):
    theirs = foolbox.attacks.LinfBasicIterativeAttack(
        abs_stepsize=5 / 255, steps=1, random_start=False
    )
    expected = foolbox_run(theirs, network, pixels, TargetedMisclassification(labels), 5.0)
    close(attacks.fgsm(network, pixels, labels, eps_255=5.0, targeted=True), expected)


def test_ifgsm_is_foolboxs_basic_iterative_method(network, pixels, labels):
    theirs = foolbox.attacks.LinfBasicIterativeAttack(
        abs_stepsize=1 / 255, steps=7, random_start=False
    )
    expected = foolbox_run(theirs, network, pixels, Misclassification(labels), 4.0)
    close(attacks.ifgsm(network, pixels, labels, eps_255=4.0, step_255=1.0, n_steps=7), expected)


def test_momentum_accumulates_gradients_of_equal_size(network, pixels, labels):
    """Dong et al. (2018), algorithm 1, written out for one image at a time."""
    ours = attacks.ifgsm(
        network, pixels, labels, eps_255=6.0, step_255=1.0, n_steps=5, momentum=0.8
    )
    plain = attacks.ifgsm(network, pixels, labels, eps_255=6.0, step_255=1.0, n_steps=5)
    for image, label, result in zip(pixels, labels, ours, strict=True):
        x, velocity = image.clone(), torch.zeros_like(image)
        for _ in range(5):
            x.requires_grad_()
            loss = nn.functional.cross_entropy(network(x[None]), label[None])
            (gradient,) = torch.autograd.grad(loss, x)
            velocity = 0.8 * velocity + gradient / gradient.abs().sum()
            x = x.detach() + velocity.sign() / 255
            x = torch.minimum(torch.maximum(x, image - 6 / 255), image + 6 / 255).clamp(0, 1)
        # A velocity within rounding of zero may take the other sign: few pixels, whole steps.
        assert ((x - result).abs() > 1e-6).float().mean() < 0.005
    assert ((plain - ours).abs() > 1e-6).float().mean() > 0.02  # momentum matters here


def test_pgd_is_foolboxs_from_the_same_start(network, pixels, labels, monkeypatch):
    starts = torch.stack([torch.rand(pixels.shape[1:], generator=g) for g in generators(24)])
    noise = (2 * starts - 1) * 5 / 255
    theirs = foolbox.attacks.LinfPGD(abs_stepsize=1 / 255, steps=9, random_start=True)
    monkeypatch.setattr(
        type(theirs), "get_random_start", lambda _, x0, __: x0 + eagerpy.astensor(noise)
    )
    expected = foolbox_run(theirs, network, pixels, Misclassification(labels), 5.0)
    ours = attacks.pgd(
        network, pixels, labels, eps_255=5.0, step_255=1.0, n_steps=9, n_restarts=1,
        generators=generators(24),
    )  # fmt: skip
    close(ours, expected)


@pytest.mark.parametrize("eps_255", [40.0, 300.0])
def test_pgd_in_l2_is_foolboxs_from_the_same_start(eps_255, network, pixels, labels, monkeypatch):
    unit = torch.stack([attacks.L2.draw(pixels.shape[1:], g) for g in generators(24)])
    theirs = foolbox.attacks.L2PGD(abs_stepsize=20 / 255, steps=9, random_start=True)
    monkeypatch.setattr(
        type(theirs), "get_random_start",
        lambda _, x0, eps: x0 + eagerpy.astensor(unit * eps),
    )  # fmt: skip
    expected = foolbox_run(theirs, network, pixels, Misclassification(labels), eps_255)
    ours = attacks.pgd(
        network, pixels, labels, eps_255=eps_255, step_255=20.0, n_steps=9, n_restarts=1,
        generators=generators(24), norm=attacks.L2,
    )  # fmt: skip
    close(ours, expected)


@pytest.mark.parametrize("norm", [attacks.LINF, attacks.L2], ids=lambda n: n.name)
def test_random_starts_are_uniform_in_the_unit_ball(norm):
    seeded = torch.Generator().manual_seed(0)
    points = torch.stack([norm.draw(torch.Size([3]), seeded) for _ in range(4000)]).double()
    reach = points.abs().amax(1) if norm is attacks.LINF else points.norm(dim=1)
    assert reach.max() <= 1
    # P(reach < r) = r^3 in three dimensions; three standard errors of a share of 4000.
    for radius in (0.3, 0.5, 0.8):
        share = (reach < radius).double().mean()
        assert abs(share - radius**3) < 3 * (radius**3 * (1 - radius**3) / 4000) ** 0.5
    assert points.mean(0).abs().max() < 3 * points.std() / 4000**0.5


@pytest.mark.parametrize("targeted", [False, True])
def test_restarts_keep_the_worst_loss(targeted, network, pixels, labels):
    def loss(attacked):
        return nn.functional.cross_entropy(network(attacked), labels, reduction="none")

    def run(n_restarts, seeds):
        return attacks.pgd(
            network, pixels, labels, eps_255=8.0, step_255=2.0, n_steps=1,
            n_restarts=n_restarts, generators=seeds, targeted=targeted,
        )  # fmt: skip

    with torch.no_grad():
        three = loss(run(3, generators(24)))
        continued = generators(24)
        singles = torch.stack([loss(run(1, continued)) for _ in range(3)])
    worst = singles.amin(0) if targeted else singles.amax(0)
    torch.testing.assert_close(three, worst)
    assert (singles.argmin(0) if targeted else singles.argmax(0)).unique().numel() > 1
