"""Auto-PGD against a plain implementation, and beside PGD."""

import math
from copy import deepcopy
from itertools import pairwise

import foolbox
import pytest
import torch
from attacked import NORMS, broken, foolbox_of, generators, reader, run
from foolbox.criteria import Misclassification
from torch import nn

from core import attacks
from core.attacks.apgd import _Ascent, checkpoints
from core.attacks.losses import cross_entropy, dlr


def plain_apgd(network, pixel, label, *, norm, eps_255, n_steps, generator):
    """Croce and Hein (2020), algorithm 1, for one image; the iterates, and how often it halved."""
    radius = eps_255 / 255

    def inside(x):
        if norm is attacks.LINF:
            return torch.minimum(torch.maximum(x, pixel - radius), pixel + radius).clamp(0, 1)
        return (pixel + (x - pixel) * min(1, radius / max((x - pixel).norm(), 1e-12))).clamp(0, 1)

    def look(x):
        x = x.clone().requires_grad_()
        loss = nn.functional.cross_entropy(network(x[None]), label[None])
        (slope,) = torch.autograd.grad(loss, x)
        return loss.item(), slope.sign() if norm is attacks.LINF else slope / slope.norm()

    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    places = [math.ceil(share * n_steps - 1e-9) for share in shares]
    now = inside(pixel + radius * norm.draw(pixel.shape, generator).double())
    loss, slope = look(now)
    best, seen, losses, n_halved = (loss, now, slope), [now], [loss], 0
    step, halved, best_then, previous, j = 2 * radius, False, loss, now, 0
    for k in range(n_steps):
        ahead, new = inside(now + step * slope), 0.75 if k else 1.0
        now, previous = inside(now + new * (ahead - now) + (1 - new) * (now - previous)), now
        loss, slope = look(now)
        seen, losses = [*seen, now], [*losses, loss]
        best = max(best, (loss, now, slope), key=lambda point: point[0])
        if k + 1 == places[j + 1]:
            window = losses[places[j] :]
            n_rises = sum(b > a for a, b in pairwise(window))
            stuck = not halved and best[0] <= best_then
            halved = n_rises < 0.75 * (places[j + 1] - places[j]) or stuck
            if halved:
                step, n_halved = step / 2, n_halved + 1
                loss, now, slope = best
                losses[-1] = loss
            best_then, j = best[0], j + 1
    return seen, n_halved


@NORMS
def test_apgd_is_the_papers_algorithm(norm):
    network, images, labels = reader()
    function, n = deepcopy(network).double(), 6
    pixels, labels = images[:n].double() / 255, labels[:n]
    eps_255 = 40.0 if norm is attacks.LINF else 600.0
    met = []

    def watched(values):
        if values.requires_grad:  # not a rounded image
            met.append(values.detach().clone())
        return function(values)

    attacks.apgd(
        watched, pixels, labels, eps_255=eps_255, n_steps=50, n_restarts=1,
        generators=generators(n), norm=norm,
    )  # fmt: skip
    whole = torch.stack(met)
    n_halved = []
    for k in range(n):
        seen, times = plain_apgd(
            function, pixels[k], labels[k], norm=norm, eps_255=eps_255, n_steps=50,
            generator=generators(n)[k],
        )  # fmt: skip
        n_halved.append(times)
        # Both in float64, but for the draws: 50 steps of sums in another order.
        torch.testing.assert_close(whole[:, k], torch.stack(seen), atol=1e-9, rtol=0)
    assert min(n_halved) > 1
    assert len(set(n_halved)) > 1


def test_checkpoints_are_the_papers():
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sum(checkpoints(50).values()) == list(checkpoints(50))[-1]
    assert list(checkpoints(3)) == [1, 2, 3]


@pytest.mark.parametrize("n_rises", [7, 8])
@pytest.mark.parametrize("better", [False, True])
@pytest.mark.parametrize("halved_before", [False, True])
def test_a_step_halves_on_either_condition(n_rises, better, halved_before):
    """Croce and Hein (2020), section 4.1, conditions 1 and 2, at the end of ten steps."""
    zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    ascent = _Ascent(zero, 0.1, attacks.LINF, zero, zero, torch.tensor([1.0]))
    ascent.now, ascent.loss = one, torch.tensor([0.5])  # the start is the best point
    ascent.n_rises, ascent.halved = torch.tensor([float(n_rises)]), torch.tensor([halved_before])
    ascent.loss_then = torch.tensor([0.9 if better else 1.0])
    ascent.check(10)
    halves = n_rises < 7.5 or (not halved_before and not better)
    assert ascent.halved.item() is halves
    assert ascent.step.item() == pytest.approx(0.1 if halves else 0.2)
    assert (ascent.now.item(), ascent.loss.item()) == ((0, 1.0) if halves else (1, 0.5))
    assert (ascent.loss_then.item(), ascent.n_rises.item()) == (1.0, 0)


@NORMS
@pytest.mark.parametrize("share", [0.7, 1.0])
def test_apgd_is_no_worse_than_as_many_steps_of_pgd(norm, share):
    network, images, labels = reader()
    eps_255 = share * (24.0 if norm is attacks.LINF else 400.0)
    pixels, settings = images / 255, {"eps_255": eps_255, "norm": norm, "n_steps": 20}
    ours = run(attacks.apgd, network, pixels, labels, **settings)
    ours_dlr = run(attacks.apgd, network, pixels, labels, loss=dlr, **settings)
    plain = run(attacks.pgd, network, pixels, labels, step_255=eps_255 / 4, **settings)
    kind = foolbox.attacks.LinfPGD if norm is attacks.LINF else foolbox.attacks.L2PGD
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = kind(steps=20, abs_stepsize=eps_255 / 255 / 4).run(
            foolbox_of(network), pixels, Misclassification(labels), epsilon=eps_255 / 255
        )
    loss, other = (cross_entropy(network(out), labels) for out in (ours, plain))
    assert (loss >= other - 1e-3).float().mean() >= 0.9
    counts = [
        broken(network, out, images, labels, eps_255=eps_255, norm=norm).sum()
        for out in (ours, ours_dlr, plain, theirs)
    ]
    assert min(counts[:2]) >= max(counts[2:])
    assert 4 < counts[0] < 40


@NORMS
def test_targets_break_at_least_what_the_plain_loss_does(norm):
    network, images, labels = reader()
    eps_255 = 14.0 if norm is attacks.LINF else 300.0
    settings = {"eps_255": eps_255, "norm": norm, "n_steps": 10}
    one = run(attacks.apgd, network, images / 255, labels, loss=dlr, **settings)
    each = run(attacks.apgd_targeted, network, images / 255, labels, n_targets=9, **settings)
    first, second = (
        broken(network, x, images, labels, eps_255=eps_255, norm=norm).sum() for x in (one, each)
    )
    assert 0 < first <= second < 40
