"""Attacks against foolbox, and the laws that every attack keeps."""

import eagerpy
import foolbox
import pytest
import torch
from torch import nn

from core import attacks
from core.attacks import gradients
from core.errors import InputError


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(),
            nn.Linear(8 * 16, 5),
        )  # fmt: skip
    return model.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(
        0, 256, (24, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return torch.randint(0, 5, (24,), generator=torch.Generator().manual_seed(2))


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


SETTINGS = [
    attacks.Attack.with_defaults("fgsm", eps_255=4.0),
    attacks.Attack.with_defaults("ifgsm", eps_255=4.0),
    attacks.Attack.with_defaults("pgd", eps_255=4.0, n_restarts=2),
]


def test_fgsm_is_foolboxs(network, images, labels):
    pixels = images / 255
    theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    wrapped = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, clipped, _ = theirs(wrapped, pixels, labels, epsilons=3 / 255)
    ours = attacks.fgsm(network, pixels, labels, eps_255=3.0)
    torch.testing.assert_close(ours, clipped, atol=1e-6, rtol=0)


def test_ifgsm_is_foolboxs_basic_iterative_method(network, images, labels):
    pixels = images / 255
    theirs = foolbox.attacks.LinfBasicIterativeAttack(
        abs_stepsize=1 / 255, steps=7, random_start=False
    )
    wrapped = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, clipped, _ = theirs(wrapped, pixels, labels, epsilons=4 / 255)
    ours = attacks.ifgsm(network, pixels, labels, eps_255=4.0, step_255=1.0, n_steps=7)
    torch.testing.assert_close(ours, clipped, atol=1e-6, rtol=0)


def test_pgd_is_foolboxs_from_the_same_start(network, images, labels, monkeypatch):
    pixels = images / 255
    starts = torch.stack([torch.rand(pixels.shape[1:], generator=g) for g in generators(24)])
    noise = (2 * starts - 1) * 5 / 255

    def their_start(_, x0, __):
        return x0 + eagerpy.astensor(noise)

    theirs = foolbox.attacks.LinfPGD(abs_stepsize=1 / 255, steps=9, random_start=True)
    monkeypatch.setattr(type(theirs), "get_random_start", their_start)
    wrapped = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, clipped, _ = theirs(wrapped, pixels, labels, epsilons=5 / 255)
    ours = attacks.pgd(
        network, pixels, labels, eps_255=5.0, step_255=1.0, n_steps=9, n_restarts=1,
        generators=generators(24),
    )  # fmt: skip
    torch.testing.assert_close(ours, clipped, atol=1e-6, rtol=0)


@pytest.mark.parametrize("attack", SETTINGS, ids=lambda a: a.name)
def test_zero_budget_is_the_identity(attack, network, images, labels):
    still = attacks.Attack.with_defaults(attack.name, eps_255=0.0)
    out = still(network, images / 255, labels, generators=generators(24))
    assert torch.equal(out, images / 255)


@pytest.mark.parametrize("attack", SETTINGS, ids=lambda a: a.name)
@pytest.mark.parametrize("eps_255", [0.5, 2.0, 7.9, 150.0])
def test_budget_and_range_hold(attack, eps_255, network, images, labels):
    own = attacks.Attack.with_defaults(attack.name, eps_255=eps_255)
    out = attacks.on_images(own, network, images, labels, image_ids=range(24), seed=0)
    assert (out - images / 255).abs().max() <= eps_255 / 255 + 1e-6
    assert 0 <= out.min() <= out.max() <= 1
    rounded = attacks.round_within(out, images, eps_255=eps_255)
    assert (rounded.int() - images.int()).abs().max() <= eps_255


def test_rounding_keeps_a_whole_budget_and_clips_a_broken_one(images):
    assert torch.equal(attacks.round_within(images / 255, images, eps_255=2.0), images)
    grey = torch.full((1, 1, 1, 3), 100, dtype=torch.uint8)
    moved = torch.tensor([102.6, 97.4, 101.4]).reshape(1, 1, 1, 3) / 255
    assert attacks.round_within(moved, grey, eps_255=2.6).flatten().tolist() == [102, 98, 101]


@pytest.mark.parametrize("attack", SETTINGS, ids=lambda a: a.name)
def test_same_seed_same_bytes_whatever_the_batch(attack, network, images, labels):
    network = network.double()  # so that the batch's own float rounding does not show
    try:

        def run(batch_size, seed=3):
            double = lambda pixels: network(pixels.double())  # noqa: E731
            return attacks.on_images(
                attack, double, images, labels, image_ids=range(24), seed=seed,
                batch_size=batch_size,
            )  # fmt: skip

        assert torch.equal(run(24), run(24))
        assert torch.equal(run(24), run(5))
    finally:
        network.float()


def test_the_seed_moves_the_random_start(network, images, labels):
    short = attacks.Attack.with_defaults("pgd", eps_255=8.0, step_255=1.0, n_steps=1)
    first, second = (
        attacks.on_images(short, network, images, labels, image_ids=range(24), seed=seed)
        for seed in (3, 4)
    )
    assert not torch.equal(first, second)


def test_restarts_keep_the_largest_loss(network, images, labels):
    def loss(pixels):
        return nn.functional.cross_entropy(network(pixels), labels, reduction="none")

    def run(n_restarts, seeds):
        return attacks.pgd(
            network, images / 255, labels, eps_255=8.0, step_255=2.0, n_steps=1,
            n_restarts=n_restarts, generators=seeds,
        )  # fmt: skip

    with torch.no_grad():
        three = loss(run(3, generators(24)))
        continued = generators(24)
        singles = torch.stack([loss(run(1, continued)) for _ in range(3)])
    torch.testing.assert_close(three, singles.amax(0))
    assert singles.argmax(0).unique().numel() > 1  # no single restart is best for all


def test_an_image_does_not_feel_its_neighbours(network, images, labels):
    alone = gradients.loss_gradient(network, images[:1] / 255, labels[:1])
    together = gradients.loss_gradient(network, images / 255, labels)[:1]
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fgsn"}, "must be one of fgsm, ifgsm, pgd"),
        ({"eps_255": -1.0}, "0..255"),
        ({"eps_255": float("nan")}, "0..255"),
        ({"n_steps": 3}, "fgsm takes one step of the whole budget"),
        ({"step_255": 1.0}, "fgsm takes one step of the whole budget"),
        ({"name": "ifgsm", "n_restarts": 2}, "got 2 restarts"),
        ({"name": "pgd", "n_steps": 0}, "at least 1 step"),
    ],
)
def test_impossible_budgets_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        attacks.Attack.with_defaults(**({"name": "fgsm", "eps_255": 2.0} | arguments))
