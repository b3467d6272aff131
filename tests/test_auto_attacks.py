"""AutoAttack's parts and their union: plain implementations, other libraries, exact solutions."""

import math
from copy import deepcopy
from functools import partial
from itertools import pairwise

import foolbox
import pytest
import torch
from attacked import foolbox_of, generators, noise_images, noise_labels, reader, tiny_network
from foolbox.criteria import Misclassification
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from tiny import Linear
from torch import nn

from core import attacks
from core.attacks.apgd import _Ascent, checkpoints
from core.attacks.gradients import loss_gradient
from core.attacks.hyperplane import onto_hyperplane
from core.attacks.kept import Kept
from core.attacks.losses import cross_entropy, dlr, margin, targeted_dlr, wrong_classes
from core.errors import InputError

NORMS = pytest.mark.parametrize("norm", [attacks.LINF, attacks.L2], ids=lambda norm: norm.name)


def run(attack, network, pixels, labels, **settings):
    own = generators(len(pixels))
    return attack(network, pixels, labels, **{"n_restarts": 1, "generators": own} | settings)


def broken(network, attacked, images, labels, *, eps_255, norm):
    """Which 8-bit images within the budget are misclassified."""
    rounded = attacks.round_within(attacked, images, eps_255=eps_255, norm=norm)
    return network(rounded / 255).argmax(1) != labels


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


def nearest_by_scipy(flat, slope, gap, norm):
    bounds = [(-float(p), 1 - float(p)) for p in flat]
    n = len(flat)
    if norm is attacks.LINF:  # over the change and the largest of it
        wide = torch.cat([torch.eye(n), -torch.eye(n)])
        rows = torch.cat([wide, -torch.ones(2 * n, 1)], 1).double().numpy()
        found = linprog(
            [0.0] * n + [1.0], A_ub=rows, b_ub=[0.0] * 2 * n,
            A_eq=[[*slope.tolist(), 0.0]], b_eq=[gap], bounds=[*bounds, (0, None)],
        )  # fmt: skip
        return found.fun if found.success else None
    found = minimize(
        lambda d: d @ d, [0.0] * n, jac=lambda d: 2 * d, method="SLSQP", bounds=bounds,
        constraints={"type": "eq", "fun": lambda d: d @ slope.numpy() - gap,
                     "jac": lambda _: slope.numpy()}, options={"ftol": 1e-14, "maxiter": 200},
    )  # fmt: skip
    return math.sqrt(found.fun) if found.success else None


@NORMS
def test_the_projection_is_the_nearest_point_that_scipy_finds(norm):
    seeded = torch.Generator().manual_seed(7)
    pixels = torch.rand(40, 1, 2, 4, generator=seeded).double()
    pixels[:8] = pixels[:8].round()  # at the box already
    slope = torch.randn(40, 1, 2, 4, generator=seeded).double()
    slope[8:12, ..., 0] = 0
    reach = torch.where(slope > 0, slope * (1 - pixels), slope * -pixels).sum((1, 2, 3))
    below = torch.where(slope > 0, slope * -pixels, slope * (1 - pixels)).sum((1, 2, 3))
    share = torch.rand(40, generator=seeded).double() * 1.2  # one in six cannot be reached
    gap = torch.where(torch.arange(40) % 2 == 0, reach, below) * share
    change = onto_hyperplane(pixels, slope, gap, norm=norm)
    assert (pixels + change).min() >= -1e-12
    assert (pixels + change).max() <= 1 + 1e-12
    n_reached = 0
    for k in range(40):
        got = (slope[k] * change[k]).sum().item()
        if share[k] > 1:
            most = (reach if k % 2 == 0 else below)[k].item()
            assert got == pytest.approx(most, abs=1e-12)  # as far as the box lets it
            continue
        n_reached += 1
        assert got == pytest.approx(gap[k].item(), abs=1e-12)
        best = nearest_by_scipy(pixels[k].flatten(), slope[k].flatten(), gap[k].item(), norm)
        # Both solvers stop within 1e-7 of their optimum.
        assert norm.length(change)[k].item() == pytest.approx(best, rel=1e-5, abs=1e-7)
    assert 20 < n_reached < 40


@NORMS
def test_fab_meets_the_boundaries_of_a_linear_network(norm):
    network = Linear(n_classes=5).double()
    network.requires_grad_(False)
    noise = torch.rand(12, 64, generator=generators(1)[0]).double()
    own = network.weight[torch.arange(12) % 5].sign()
    pixels = (0.45 + 0.2 * own + 0.1 * noise).reshape(12, 1, 8, 8)
    logits = network(pixels)
    labels = logits.argmax(1)
    slopes = network.weight[labels][:, None] - network.weight
    size = slopes.abs().sum(2) if norm is attacks.LINF else slopes.norm(dim=2)
    distance = (logits.gather(1, labels[:, None]) - logits) / size
    nearest = distance.scatter(1, labels[:, None], torch.inf).amin(1)
    out = run(attacks.fab, network, pixels, labels, eps_255=1e5, n_steps=15, n_targets=4, norm=norm)
    length = norm.length(out - pixels).flatten()
    assert (network(out).argmax(1) != labels).all()
    assert (length > nearest).all()
    # A step goes 5 % too far; what is near does not survive rounding, so another class may be kept.
    far = nearest * 255 > (10 if norm is attacks.LINF else 60)
    assert far.sum() > 6
    assert (length[far] <= 1.05 * nearest[far]).all()


@NORMS
def test_fab_finds_changes_as_short_as_foolboxs_fast_minimum_norm(norm):
    network, images, labels = reader()
    pixels, labels = images[:24] / 255, labels[:24]
    wide = 255.0 if norm is attacks.LINF else 1e5
    ours = run(
        attacks.fab, network, pixels, labels, eps_255=wide, n_steps=8, n_targets=9, norm=norm
    )
    kind = foolbox.attacks.LInfFMNAttack if norm is attacks.LINF else foolbox.attacks.L2FMNAttack
    theirs = kind(steps=72).run(foolbox_of(network), pixels, Misclassification(labels))
    assert (network(ours).argmax(1) != labels).all()
    ratio = (norm.length(ours - pixels) / norm.length(theirs - pixels)).flatten()
    assert ratio.median() <= 1.02


@NORMS
def test_fab_cuts_what_is_longer_than_the_budget(norm):
    network, images, labels = reader()
    pixels, labels = images[:24] / 255, labels[:24]
    settings = {"n_steps": 6, "n_targets": 3, "norm": norm}
    wide = 255.0 if norm is attacks.LINF else 1e5
    free = run(attacks.fab, network, pixels, labels, eps_255=wide, **settings)
    length = norm.length(free - pixels).flatten() * 255
    eps_255 = float(length.median()) + 0.01
    cut = run(attacks.fab, network, pixels, labels, eps_255=eps_255, **settings)
    assert (norm.length(cut - pixels) * 255 <= eps_255 * (1 + 1e-5)).all()
    fooled = network(cut).argmax(1) != labels
    assert fooled[length < 0.99 * eps_255].all()
    assert not fooled[length > 1.05 * eps_255].any()
    settings["n_restarts"] = 2
    again = run(attacks.fab, network, pixels, labels, eps_255=eps_255, **settings)
    assert (network(again).argmax(1) != labels).sum() >= fooled.sum()


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
