"""AutoAttack's parts together: laws that all keep, what counts, and their union."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from attacked import (
    NORMS,
    broken,
    generators,
    noise_images,
    noise_labels,
    reader,
    run,
    tiny_network,
)
from tiny import Linear

from core import attacks
from core.attacks.gradients import loss_gradient
from core.attacks.kept import Kept
from core.attacks.losses import dlr, margin

EACH = {
    "apgd": partial(attacks.apgd, n_steps=5),
    "apgd_targeted": partial(attacks.apgd_targeted, n_steps=3, n_targets=3),
    "fab": partial(attacks.fab, n_steps=3, n_targets=3),
    "square": partial(attacks.square, n_queries=30, share=0.8),
    "standard": partial(attacks.standard, n_steps=3, n_queries=10),
}


@NORMS
@pytest.mark.parametrize("attack", EACH.values(), ids=EACH)
def test_neither_order_nor_neighbours_move_an_image(attack, norm):
    network = deepcopy(tiny_network()).double()
    exact = lambda pixels: network(pixels.double())  # noqa: E731
    pixels, labels = noise_images() / 255, noise_labels()
    settings = {"eps_255": 2.0 if norm is attacks.LINF else 30.0, "norm": norm, "n_restarts": 2}
    whole = attack(exact, pixels, labels, generators=generators(24), **settings)
    picks = torch.tensor([17, 3, 0, 11])
    own = [generators(24)[k] for k in picks]
    some = attack(exact, pixels[picks], labels[picks], generators=own, **settings)
    assert torch.equal(some, whole[picks])
    assert not torch.equal(whole, pixels)


def test_an_8_bit_success_beats_a_larger_loss():
    """The network errs above 100.4 levels: 101 does in 8 bits, 100.45 does not."""

    def network(pixels):
        level = pixels.flatten(1)[:, :1] * 255
        return torch.cat([100.4 - level, level - 100.4], 1)

    def offer(*levels):
        pixels = torch.full((1, 1, 1, 1), 99 / 255)
        kept = Kept.start(network, pixels, torch.tensor([0]), eps_255=3.0, norm=attacks.LINF)
        for level, value in levels:
            attacked = torch.full((1, 1, 1, 1), level / 255)
            wrong = network(attacked).argmax(1) != 0
            kept.offer(torch.tensor([0]), attacked, wrong=wrong, value=torch.tensor([value]))
        return kept.attacked.item() * 255, kept.rank.item()

    assert offer() == pytest.approx((99, -1))
    assert offer((100.0, 1.0), (99.5, 2.0), (98.0, 1.5)) == pytest.approx((99.5, 0))
    assert offer((99.5, 2.0), (100.45, 1.0), (100.0, 3.0)) == pytest.approx((100.45, 1))
    assert offer((100.45, 9.0), (100.8, 1.0), (100.42, 9.5)) == pytest.approx((100.8, 2))
    assert offer((100.8, 1.0), (101.2, 2.0), (100.9, 1.5)) == pytest.approx((101.2, 2))


@NORMS
def test_a_gradient_masked_by_scale_is_no_defence_against_dlr_or_square(norm):
    network, images, labels = reader()
    pixels, masked = images / 255, lambda x: network(x) * 1e4
    sure = loss_gradient(masked, pixels, labels).flatten(1).abs().amax(1) == 0
    assert sure.sum() > 35
    settings = {"eps_255": 28.0 if norm is attacks.LINF else 600.0, "norm": norm}

    def count(attack, function, **more):
        out = run(attack, function, pixels, labels, **settings, **more)
        return broken(network, out, images, labels, **settings)[sure].sum()

    blind = count(attacks.apgd, masked, n_steps=10)
    ours = count(attacks.apgd, masked, n_steps=10, loss=dlr)
    assert ours >= count(attacks.apgd, network, n_steps=10) - 1
    assert ours > 8
    assert blind < ours / 2
    queries = {"n_queries": 150, "share": 0.8}
    asked = count(attacks.square, masked, **queries)
    assert asked > 8
    # The scale moves no comparison of margins but for float32's rounding.
    assert abs(asked - count(attacks.square, network, **queries)) <= 1


@NORMS
def test_the_union_holds_what_its_parts_break(norm):
    network, images, labels = (part[:24] if torch.is_tensor(part) else part for part in reader())
    pixels, labels = images / 255, labels.clone()
    labels[:3] = (labels[:3] + 1) % 10  # misclassified from the start
    settings = {"eps_255": 16.0 if norm is attacks.LINF else 350.0, "norm": norm}
    union = run(attacks.standard, network, pixels, labels, n_steps=4, n_queries=40, **settings)
    found = broken(network, union, images, labels, **settings)
    assert torch.equal(union[:3], pixels[:3])
    other = generators(24)[3:]
    first = attacks.apgd(
        network, pixels[3:], labels[3:], n_steps=4, n_restarts=1, generators=other, **settings
    )
    by_first = broken(network, first, images[3:], labels[3:], **settings)
    assert torch.equal(union[3:][by_first], first[by_first])
    for part in (
        partial(attacks.apgd_targeted, n_steps=4, n_targets=9),
        partial(attacks.fab, n_steps=4, n_targets=9),
        partial(attacks.square, n_queries=40, share=0.8),
    ):
        alone = run(part, network, pixels, labels, **settings)
        missed = broken(network, alone, images, labels, **settings) & ~found
        assert missed.sum() <= 1  # another draw may be luckier
    assert 6 < found.sum() < 24


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_union_does_with_two_classes(n_classes):
    network = Linear(n_classes=n_classes).requires_grad_(False)
    pixels = torch.rand(8, 1, 8, 8, generator=generators(1)[0])
    network.bias -= network(pixels).mean(0)
    labels = network(pixels).argmax(1)
    out = run(attacks.standard, network, pixels, labels, eps_255=12.0, n_steps=3, n_queries=5)
    assert (network(out).argmax(1) != labels).any()


def test_names_choose_the_loss_and_the_queries():
    pixels, labels = noise_images() / 255, noise_labels()
    for name, direct in (
        ("apgd:loss=margin@8x4", partial(attacks.apgd, n_steps=4, loss=margin)),
        ("apgd-t:targets=2@8x4", partial(attacks.apgd_targeted, n_steps=4, n_targets=2)),
        ("fab:targets=2@8x4", partial(attacks.fab, n_steps=4, n_targets=2)),
        ("square:queries=9@8", partial(attacks.square, n_queries=9, share=0.8)),
        ("aa:queries=9@8x2", partial(attacks.standard, n_steps=2, n_queries=9)),
    ):
        attack = attacks.parse_attack(name, channels=3, side=16)
        named = attack(tiny_network(), pixels, labels, generators=generators(24))
        assert torch.equal(named, run(direct, tiny_network(), pixels, labels, eps_255=8.0))
        assert not torch.equal(named, pixels)
