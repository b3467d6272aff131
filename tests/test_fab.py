"""FAB: its projection against an exact solution, its lengths beside another library."""

import math

import foolbox
import pytest
import torch
from attacked import NORMS, foolbox_of, generators, reader, run
from foolbox.criteria import Misclassification
from scipy.optimize import linprog, minimize
from tiny import Linear

from core import attacks
from core.attacks.hyperplane import onto_hyperplane


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
