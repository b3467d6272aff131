"""Losses of attacks: formulas by hand, laws, and what few classes allow."""

import pytest
import torch
from attacked import noise_images, noise_labels, run, tiny_network
from hypothesis import given
from hypothesis import strategies as st
from tiny import Linear
from torch import nn

from core import attacks
from core.attacks.gradients import loss_gradient
from core.attacks.losses import dlr, margin, targeted_dlr, wrong_classes
from core.errors import InputError


def by_hand(logits, label):
    """DLR and, for each wrong class, targeted DLR, in plain Python."""
    down = sorted(logits, reverse=True)
    wrong = [z for k, z in enumerate(logits) if k != label]
    plain = -(logits[label] - max(wrong)) / (down[0] - down[2])
    unit = down[0] - (down[2] + down[3]) / 2
    return plain, {k: -(logits[label] - z) / unit for k, z in enumerate(logits) if k != label}


LOGITS = st.lists(st.integers(-1000, 1000), min_size=4, max_size=7, unique=True)


@given(LOGITS, st.integers(0, 3), st.floats(1e-3, 1e3), st.floats(-50, 50))
def test_dlr_is_the_papers_formula_and_feels_neither_shift_nor_scale(values, label, scale, shift):
    logits = torch.tensor([values]).double() / 10
    labels = torch.tensor([label])
    plain, to = by_hand(logits[0].tolist(), label)
    for seen in (logits, scale * logits + shift):
        # Differences of numbers up to 1e5, in float64, over differences from 1e-4.
        assert dlr(seen, labels).item() == pytest.approx(plain, rel=1e-6)
        for target, expected in to.items():
            theirs = targeted_dlr(seen, labels, targets=torch.tensor([target])).item()
            assert theirs == pytest.approx(expected, rel=1e-6)
    assert margin(logits, labels).item() == pytest.approx(
        max(z for k, z in enumerate(logits[0].tolist()) if k != label) - logits[0, label].item()
    )


def test_equal_logits_have_a_finite_loss():
    same = torch.zeros(1, 5)
    assert dlr(same, torch.tensor([0])) == 0
    assert targeted_dlr(same, torch.tensor([0]), targets=torch.tensor([1])) == 0


def test_few_classes_are_an_input_error():
    labels = torch.tensor([1])
    with pytest.raises(InputError, match="at least 3 classes, got a network with 2"):
        dlr(torch.zeros(1, 2), labels)
    with pytest.raises(InputError, match="at least 4 classes, got a network with 3"):
        run(
            attacks.apgd_targeted, Linear(), torch.zeros(1, 1, 8, 8), labels, eps_255=8.0,
            n_steps=2, n_targets=9,
        )  # fmt: skip


def test_wrong_classes_come_likeliest_first():
    logits, labels = torch.tensor([[1.0, 5, 3, 4], [9, 0, 2, 1]]), torch.tensor([1, 3])
    assert wrong_classes(logits, labels, 9).tolist() == [[3, 2, 0], [0, 2, 1]]
    assert wrong_classes(logits, labels, 2).tolist() == [[3, 2], [0, 2]]


def test_the_usual_loss_is_the_cross_entropy_to_the_bit():
    inputs = (noise_images() / 255).requires_grad_()
    loss = nn.functional.cross_entropy(tiny_network()(inputs), noise_labels(), reduction="sum")
    (expected,) = torch.autograd.grad(loss, inputs)
    pixels = noise_images() / 255
    assert torch.equal(loss_gradient(tiny_network(), pixels, noise_labels()), expected)
    other = loss_gradient(tiny_network(), pixels, noise_labels(), loss=margin)
    assert not torch.allclose(other, expected, atol=1e-3)
