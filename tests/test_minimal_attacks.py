"""DeepFool and C&W against foolbox on a trained network, and what their budgets mean."""

import foolbox
import pytest
import torch
from attacked import (
    digits,
    foolbox_of,
    noise_images,
    noise_labels,
    success_and_lengths,
    tiny_network,
)
from foolbox.criteria import Misclassification, TargetedMisclassification

from core import attacks
from core.attacks.catalogue import UNBOUNDED_255

CW = {"n_steps": 50, "n_searches": 4, "rate": 0.05, "confidence": 0.0, "first_c": 0.1}


def deepfool(network, pixels, labels, **settings):
    usual = {"n_steps": 50, "overshoot": 0.02, "n_candidates": 10, "eps_255": UNBOUNDED_255}
    return attacks.deepfool(network, pixels, labels, **usual | settings)


def cw(network, pixels, labels, **settings):
    usual = CW | {"eps_255": UNBOUNDED_255}
    return attacks.carlini_wagner(network, pixels, labels, **usual | settings)


def assert_as_strong(network, ours, theirs, pixels, labels):
    """Success not lower, median L2 of what both fool not larger by more than 2 %."""
    won, length = success_and_lengths(network, ours, pixels, labels)
    their_won, their_length = success_and_lengths(network, theirs, pixels, labels)
    assert won.sum() >= their_won.sum()
    both = won & their_won
    assert both.sum() > 8
    assert length[both].median() <= 1.02 * their_length[both].median()


@pytest.mark.parametrize("n_candidates", [3, 10])
def test_deepfool_is_foolboxs(n_candidates):
    network, pixels, labels = digits()
    theirs = foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=n_candidates, overshoot=0.02)
    expected = theirs.run(foolbox_of(network), pixels, Misclassification(labels))
    ours = deepfool(network, pixels, labels, n_candidates=n_candidates)
    assert_as_strong(network, ours, expected, pixels, labels)
    # Both compute the same formulas in float32; a few steps of a curved network multiply the
    # rounding, and one image in many may cross a boundary a step earlier.
    apart = (ours - expected).flatten(1).norm(dim=1) / (expected - pixels).flatten(1).norm(dim=1)
    assert apart.nanmedian() < 1e-3


def test_deepfool_meets_the_boundary_of_a_linear_network_exactly():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 4, bias=False))
        network.requires_grad_(False)[1].weight *= 5
        pixels = 0.5 + 0.1 * torch.rand(6, 3, 4, 4)
    logits = network(pixels)
    labels = logits.argmax(1)
    weight = network[1].weight
    gaps = logits.gather(1, labels[:, None]) - logits
    distance = gaps / (weight[labels][:, None] - weight).norm(dim=2)
    nearest = distance.scatter(1, labels[:, None], torch.inf).amin(1)
    out = deepfool(network, pixels, labels)
    won, length = success_and_lengths(network, out, pixels, labels)
    assert won.all()
    # One linear step: the distance, 1e-4 more, and 2 % of overshoot.
    torch.testing.assert_close(length, 1.02 * (nearest + 1e-4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_cw_is_as_strong_as_foolboxs(confidence):
    network, pixels, labels = digits("lenet")
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=4, steps=50, stepsize=0.05, confidence=confidence, initial_const=0.1
    )
    expected = theirs.run(foolbox_of(network), pixels, Misclassification(labels))
    ours = cw(network, pixels, labels, confidence=confidence)
    assert_as_strong(network, ours, expected, pixels, labels)
    logits = network(ours)
    own = logits.gather(1, labels[:, None])[:, 0]
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    won = (ours != pixels).flatten(1).any(1)
    # Summation in another batch may move a logit by some units in the last place.
    assert (other - own)[won].min() >= confidence - 1e-3


def test_targeted_cw_is_as_strong_as_foolboxs():
    network, pixels, labels = digits("lenet")
    goal = (labels + 1) % 10
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=4, steps=50, stepsize=0.05, initial_const=0.1
    )
    expected = theirs.run(foolbox_of(network), pixels, TargetedMisclassification(goal))
    ours = cw(network, pixels, goal, targeted=True)
    reached, their_reached = (network(x).argmax(1) == goal for x in (ours, expected))
    assert reached.sum() >= their_reached.sum()
    both = reached & their_reached
    length, their_length = ((x - pixels)[both].flatten(1).norm(dim=1) for x in (ours, expected))
    assert length.median() <= 1.02 * their_length.median()


@pytest.mark.parametrize("attack", [deepfool, cw], ids=["deepfool", "cw"])
def test_what_is_misclassified_already_is_hardly_changed(attack):
    network, pixels, labels = tiny_network(), noise_images() / 255, noise_labels()
    wrong = network(pixels).argmax(1) != labels
    assert wrong.any()
    out = attack(network, pixels, labels)
    # C&W's tanh space holds [0, 1] but for 5e-7 at either end.
    torch.testing.assert_close(out[wrong], pixels[wrong], atol=1e-6, rtol=0)


@pytest.mark.parametrize("attack", [deepfool, cw], ids=["deepfool", "cw"])
def test_a_budget_cuts_only_what_is_longer(attack):
    network, pixels, labels = tiny_network(), noise_images() / 255, noise_labels()
    free = attack(network, pixels, labels)
    length = (free - pixels).flatten(1).norm(dim=1)
    eps_255 = float(length.median()) * 255
    cut = attack(network, pixels, labels, eps_255=eps_255)
    within = length * 255 <= eps_255
    assert 0 < within.sum() < 24
    assert torch.equal(cut[within], free[within])
    shorter = (cut - pixels).flatten(1).norm(dim=1)[~within] * 255
    torch.testing.assert_close(shorter, torch.full_like(shorter, eps_255), rtol=1e-4, atol=0)
