"""Square against a plain implementation, and beside attacks that ask as much."""

import math
from copy import deepcopy

import foolbox
import torch
from attacked import (
    NORMS,
    broken,
    foolbox_of,
    generators,
    noise_images,
    noise_labels,
    reader,
    run,
    tiny_network,
)
from foolbox.criteria import Misclassification
from torch import nn

from core import attacks


def plain_pattern(side):
    """Andriushchenko et al. (2020), equation 2: two opposite bumps of nested rectangles."""
    whole = torch.zeros(side, side)
    for first, height, sign in ((0, side // 2, 1), (side // 2, side - side // 2, -1)):
        part = torch.zeros(height, side)
        for k in range(max(height, side) // 2 + 1):
            top, left = max(height // 2 - k, 0), max(side // 2 - k, 0)
            part[top : height // 2 + k + 1, left : side // 2 + k + 1] += 1 / (k + 1) ** 2
        if height:
            whole[first : first + height] = sign * part / part.norm()
    return whole / whole.norm()


def sign(unit):
    return torch.where(unit < 0.5, -1.0, 1.0)


def at_edge(pixel, change, radius):
    return (pixel + radius * change / (change.norm() + 1e-12)).clamp(0, 1)


def plain_first(pixel, radius, norm, generator):
    c, h, w = pixel.shape
    if norm is attacks.LINF:
        return (pixel + radius * sign(torch.rand(c, 1, w, generator=generator))).clamp(0, 1)
    s = h // 5
    n, edge = h // s, (h - h // s * s) // 2
    unit, change = torch.rand(c + 1, n, n, generator=generator), torch.zeros(c, h, w)
    for i in range(n):
        for j in range(n):
            eta = plain_pattern(s).T if unit[0, i, j] < 0.5 else plain_pattern(s)
            tile = sign(unit[1:, i, j])[:, None, None] * eta
            change[:, edge + i * s :, edge + j * s :][:, :s, :s] = tile
    return at_edge(pixel, change, radius)


def plain_next(best, pixel, k, *, radius, norm, draws):
    c, h, w = pixel.shape
    share = 0.8 / 2 ** sum(k > at for at in (10, 50, 200, 500))
    s = max(round(math.sqrt(share * h * w)), 1 if norm is attacks.LINF else 3)
    s = s if norm is attacks.LINF else min(s + 1 - s % 2, h, w)
    top, left, top_2, left_2 = (int(u * (h - s + 1)) for u in draws[:4])
    here = (slice(None), slice(top, top + s), slice(left, left + s))
    there = (slice(None), slice(top_2, top_2 + s), slice(left_2, left_2 + s))
    signs = sign(draws[5:])[:, None, None]
    if norm is attacks.LINF:
        new = best.clone()
        new[here] = (pixel[here] + radius * signs).clamp(0, 1)
        return new
    change, either = best - pixel, torch.zeros(h, w)
    either[here[1:]] = either[there[1:]] = 1
    energy = (change * either).square().sum((1, 2), keepdim=True)
    spare = max(radius**2 - change.square().sum(), 0) / c
    eta = plain_pattern(s).T if draws[4] < 0.5 else plain_pattern(s)
    old = change[here]
    fresh = signs * eta + old / (old.square().sum((1, 2), keepdim=True).sqrt() + 1e-12)
    fresh /= fresh.square().sum((1, 2), keepdim=True).sqrt() + 1e-12
    change[there] = 0
    change[here] = fresh * (spare + energy).sqrt()
    return at_edge(pixel, change, radius)


def plain_square(network, pixel, label, *, norm, eps_255, n_queries, generator):
    """The attack on one image, by slices; its result, and how often the network was asked."""
    radius, n_asked = eps_255 / 255, 0

    def ask(x):
        nonlocal n_asked
        n_asked += 1
        z = network(x[None])[0]
        return max(z[k] for k in range(len(z)) if k != label) - z[label]

    def rounded(x):
        image = (pixel[None] * 255).round().byte()
        return attacks.round_within(x[None], image, eps_255=eps_255, norm=norm)[0] / 255

    tried = best = plain_first(pixel, radius, norm, generator)
    draws = torch.rand(n_queries, 5 + len(pixel), generator=generator)
    value = -math.inf
    for k in range(n_queries):
        loss = ask(tried)
        if loss > 0 and ask(rounded(tried)) > 0:
            return tried, n_asked
        if loss > value:
            best, value = tried, loss
        tried = plain_next(best, pixel, k, radius=radius, norm=norm, draws=draws[k])
    return best, n_asked


@NORMS
def test_square_is_the_papers_attack_and_asks_no_more(norm):
    network = deepcopy(tiny_network()).double()
    pixels, labels = noise_images()[:8] / 255, noise_labels()[:8]
    asked = []

    def exact(values):
        asked.append(len(values))
        return network(values.double())

    settings = {"norm": norm, "eps_255": 1.0 if norm is attacks.LINF else 15.0, "n_queries": 90}
    out = run(attacks.square, exact, pixels, labels, share=0.8, **settings)
    total, asked = sum(asked), []
    n_asked = []
    for k in range(8):
        best, times = plain_square(
            exact, pixels[k], labels[k], generator=generators(8)[k], **settings
        )
        n_asked.append(times)
        # float32 pixels; sums over a square in another order.
        torch.testing.assert_close(out[k], best, atol=1e-5, rtol=0)
    assert total == sum(n_asked)
    assert min(n_asked) == 2  # misclassified from the start, and once rounded
    assert len(set(n_asked)) > 2


@NORMS
def test_square_beats_a_decision_attack_and_noise_of_as_many_queries(norm):
    network, images, labels = reader()
    pixels, wide = images / 255, {"linf": 28.0, "l2": 600.0}[norm.name]
    out = run(
        attacks.square, network, pixels, labels, n_queries=200, share=0.8, eps_255=wide, norm=norm
    )
    ours = broken(network, out, images, labels, eps_255=wide, norm=norm).sum()
    n_asked = []

    class Counted(nn.Module):
        def forward(self, values):
            n_asked.append(len(values))
            return network(values)

    jump = foolbox.attacks.HopSkipJumpAttack(
        steps=4, initial_gradient_eval_steps=10, max_gradient_eval_steps=50,
        constraint=norm.name,
    )  # fmt: skip
    noise = {
        "linf": foolbox.attacks.LinfRepeatedAdditiveUniformNoiseAttack,
        "l2": foolbox.attacks.L2RepeatedAdditiveGaussianNoiseAttack,
    }[norm.name](repeats=200)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        jumped = jump.run(foolbox_of(Counted().eval()), pixels, Misclassification(labels))
        noisy = noise.run(
            foolbox_of(network), pixels, Misclassification(labels), epsilon=wide / 255
        )
    assert sum(n_asked) >= 200 * len(pixels)
    near = norm.length(jumped - pixels).flatten() * 255 <= wide
    assert ours >= near.sum()
    assert ours > (network(noisy).argmax(1) != labels).sum()
    assert ours > 8
