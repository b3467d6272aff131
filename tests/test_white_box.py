"""BPDA, expectation over randomness, and the adapter to AutoAttack."""

import sys
import types
from functools import partial

import pytest
import torch
from attacked import SETTINGS, generators, noise_images, noise_labels, tiny_network
from torch import nn

from core import attacks, codec, seeds
from core.attacks.gradients import gradient_and_logits, loss_gradient
from core.codec import qtable
from core.errors import InputError


def gradient_of(function, values, onto):
    inputs = values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((function(inputs) * onto).sum(), inputs)
    return gradient


@pytest.fixture
def onto():
    return torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(5))


def test_straight_through_is_the_real_defence_forward_and_the_identity_backward(onto):
    pixels = noise_images() / 255
    table = qtable.by_name("k3-of16-af116")
    real = lambda x: codec.compress(x, table)  # noqa: E731
    through = attacks.straight_through(real)
    assert torch.equal(through(pixels), real(pixels))
    assert not torch.equal(real(pixels), pixels)
    assert torch.equal(gradient_of(through, pixels, onto), onto)


def test_straight_through_never_differentiates_the_real_defence(onto):
    def real(values):
        assert not torch.is_grad_enabled()
        return torch.from_numpy(values.numpy().round())

    through = attacks.straight_through(real)
    assert torch.equal(gradient_of(through, noise_images() / 255, onto), onto)


def test_a_surrogate_gives_its_own_derivative(onto):
    pixels = noise_images() / 255
    through = attacks.straight_through(torch.round, lambda x: x**3)
    assert torch.equal(through(pixels), pixels.round())
    torch.testing.assert_close(gradient_of(through, pixels, onto), 3 * pixels**2 * onto)


def test_the_identity_needs_shapes_that_agree():
    through = attacks.straight_through(lambda x: x[..., ::2])
    with pytest.raises(ValueError, match="differentiable surrogate"):
        through(torch.zeros(1, 1, 4, 4))


def test_bpda_is_plain_ascent_until_each_image_is_fooled():
    """The published loop, one image at a time, in float64."""
    network = tiny_network()
    pixels, labels = noise_images() / 255, noise_labels()
    ours = attacks.bpda(network, pixels, labels, eps_255=300.0, rate=5.0, n_steps=12)
    n_taken = []
    for image, label, result in zip(pixels, labels, ours, strict=True):
        x = image.clone()
        for taken in range(13):
            gradient, logits = gradient_and_logits(network, x[None], label[None])
            if taken == 12 or logits.argmax() != label:
                break
            change = x + 5 * gradient[0] - image
            length = change.norm()
            x = (image + change * min(1.0, float(300 / 255 / length))).clamp(0, 1)
        n_taken.append(taken)
        # A dozen float32 steps, each off by some units in the last place.
        torch.testing.assert_close(result, x, atol=1e-5, rtol=0)
    assert len(set(n_taken)) > 2  # they stop at different steps


def noisy(pixels, own):
    """A randomised defence: noise from each image's own generator."""
    noise = torch.stack([torch.randn(pixels.shape[1:], generator=g) for g in own])
    return tiny_network()(pixels + 0.3 * noise)


def plain(pixels, _):
    return tiny_network()(pixels)


@pytest.mark.parametrize("attack", SETTINGS, ids=lambda a: a.name)
def test_the_expectation_of_what_is_not_random_is_the_plain_attack(attack):
    images, labels = noise_images(), noise_labels()
    same = {"image_ids": range(24), "seed": 0}
    expected = attacks.on_images(attack, tiny_network(), images, labels, **same)
    out = attacks.on_images(attack, plain, images, labels, n_samples=4, **same)
    if attack.name == "difgsm":  # there every draw has a change of its own: another attack
        assert not torch.equal(out, expected)
    else:  # The mean of four equal numbers is exact.
        assert torch.equal(out, expected)


def test_the_expected_gradient_is_the_mean_over_draws():
    pixels, labels = noise_images() / 255, noise_labels()
    expectation = attacks.Expectation(noisy, generators(24), 5)
    own = generators(24)
    by_hand = torch.zeros_like(pixels)
    for _ in range(5):
        by_hand += loss_gradient(lambda x: noisy(x, own), pixels, labels) / 5
    # The mean in another order of summation.
    torch.testing.assert_close(
        loss_gradient(expectation, pixels, labels), by_hand, atol=1e-6, rtol=1e-4
    )
    once = loss_gradient(attacks.Expectation(noisy, generators(24), 1), pixels, labels)
    assert (once - by_hand).abs().max() > 1e-4


def test_the_expected_logits_are_the_mean_over_draws():
    pixels = noise_images() / 255
    own = generators(24)
    by_hand = sum(noisy(pixels, own) for _ in range(3)) / 3
    torch.testing.assert_close(attacks.Expectation(noisy, generators(24), 3)(pixels), by_hand)


def test_fixed_draws_are_the_same_at_every_step():
    pixels = noise_images() / 255
    fixed = attacks.Expectation(noisy, generators(24), 3, fixed=True)
    once = attacks.Expectation(noisy, generators(24), 3)
    first = once(pixels)
    assert torch.equal(fixed(pixels), first)
    assert torch.equal(fixed(pixels), first)  # nothing was used up
    assert not torch.equal(once(pixels), first)
    gradients = [loss_gradient(fixed, pixels, noise_labels()) for _ in range(2)]
    assert torch.equal(*gradients)


def test_an_attack_on_fixed_draws_climbs_one_loss():
    images, labels = noise_images(), noise_labels()
    attack = attacks.parse_attack("ifgsm:draws=fixed@4x5", channels=3, side=16)
    same = {"image_ids": range(24), "seed": 0, "n_samples": 2}
    drawn = [seeds.generator(0, i, "defence") for i in range(24)]
    fixed = attacks.Expectation(noisy, drawn, 2, fixed=True)
    by_hand = attacks.ifgsm(fixed, images / 255, labels, eps_255=4.0, step_255=1.0, n_steps=5)
    out = attacks.on_images(attack, noisy, images, labels, **same)
    assert torch.equal(out, by_hand)
    assert not torch.equal(
        out, attacks.on_images(attack.without("draws"), noisy, images, labels, **same)
    )


@pytest.mark.parametrize("attack", SETTINGS, ids=lambda a: a.name)
def test_a_randomised_defence_is_attacked_the_same_in_every_batch(attack):
    images, labels = noise_images(), noise_labels()
    network = tiny_network().double()
    try:

        def double(pixels, own):
            noise = torch.stack([torch.randn(pixels.shape[1:], generator=g) for g in own])
            return network(pixels.double() + 0.05 * noise)

        def run(batch_size, seed=0):
            return attacks.on_images(
                attack, double, images, labels, image_ids=range(24), seed=seed, n_samples=2,
                batch_size=batch_size,
            )  # fmt: skip

        assert torch.equal(run(24), run(7))
        assert not torch.equal(run(24), run(24, seed=1))
    finally:
        network.float()


def test_autoattack_says_where_it_can_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "autoattack", None)
    attack = attacks.Attack.with_defaults("autoattack")
    with pytest.raises(InputError, match=r"git\+https://github.com/fra31/auto-attack"):
        attack(tiny_network(), noise_images() / 255, noise_labels(), generators=generators(24))


@pytest.mark.parametrize(("name", "norm"), [("autoattack", "Linf"), ("autoattack-l2", "L2")])
def test_autoattack_is_asked_in_its_own_words_and_kept_in_the_budget(name, norm, monkeypatch):
    asked = {}

    class AutoAttack:
        def __init__(self, model, **settings):
            asked.update(settings, model=model)

        def run_standard_evaluation(self, pixels, labels, bs):
            asked.update(n=len(labels), bs=bs)
            return pixels + torch.rand(pixels.shape)  # beyond the budget, and random

    package = types.SimpleNamespace(AutoAttack=AutoAttack)
    monkeypatch.setitem(sys.modules, "autoattack", package)
    attack = attacks.Attack.with_defaults(f"{name}:version=rand", eps_255=8.0)
    pixels, before = noise_images() / 255, torch.random.get_rng_state()
    out = attack(tiny_network(), pixels, noise_labels(), generators=generators(24))
    seed = asked.pop("seed")
    assert asked == {
        "model": tiny_network(), "norm": norm, "eps": 8 / 255, "version": "rand",
        "device": torch.device("cpu"), "verbose": False, "n": 24, "bs": 24,
    }  # fmt: skip
    change = (out - pixels).flatten(1)
    length = change.abs().amax(1) if norm == "Linf" else change.norm(dim=1)
    assert length.max() <= 8 / 255 + 1e-6  # float32
    assert torch.equal(torch.random.get_rng_state(), before)
    attack(tiny_network(), pixels, noise_labels(), generators=generators(24))
    assert asked["seed"] == seed


def test_bpda_through_the_codec_finds_what_the_bare_gradient_cannot():
    """The derivative of torch.round is zero; straight through it is not."""
    compress = partial(codec.compress, table=qtable.by_name("uniform16"), rounding=torch.round)
    labels = noise_labels()
    real = nn.Sequential(lambda_module(compress), tiny_network())
    soft = attacks.straight_through(compress)
    pixels = noise_images() / 255
    assert loss_gradient(real, pixels, labels).abs().max() == 0
    assert loss_gradient(lambda x: tiny_network()(soft(x)), pixels, labels).abs().max() > 0


def lambda_module(function):
    class Function(nn.Module):
        def forward(self, values):
            return function(values)

    return Function()
