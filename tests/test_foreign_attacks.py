"""Attacks of other libraries through our defences, called as those libraries call a network."""

import foolbox
import pytest
import torch
import torchattack
from attacked import foolbox_of, generators, reader
from torch import nn

from core import attacks
from core.attacks.gradients import of_any_batch
from core.codec import qtable
from core.defences import Ensemble, TableDefence, defence_by_name
from core.defences.ensemble import Guarded, Member

EPS_255, N_STEPS, N_IMAGES = 24.0, 10, 40


def behind(name: str) -> nn.Module:
    """The reader behind a defence: images to logits, nothing else asked."""
    network, *_ = reader()
    tables = ("none", "uniform60", "k3-of16-af116")
    ensemble = Ensemble([Member(t, network, qtable.by_name(t)) for t in tables])
    if name == "ensemble":
        model: nn.Module = Guarded(defence_by_name("none"), ensemble)
    elif name == "TableDefence":
        model = nn.Sequential(TableDefence(qtable.by_name("k3-of16-af116")), network)
    else:
        model = nn.Sequential(defence_by_name(name), network)
    return model.eval()


def n_right(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> int:
    with torch.no_grad():
        return int((model(pixels).argmax(1) == labels).sum())


@pytest.mark.parametrize(
    "name", ["none", "TableDefence", "k3-of16-af116@ycbcr", "fd", "fd@rgb", "jpeg30", "shield",
             "smooth8", "tvm", "ensemble"],
)  # fmt: skip
def test_their_pgd_finds_what_ours_finds(name):
    torch.manual_seed(0)
    model, (_, images, labels) = behind(name), reader()
    pixels = images / 255
    theirs = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=N_STEPS)
    _, by_foolbox, _ = theirs(foolbox_of(model), pixels, labels, epsilons=EPS_255 / 255)
    wrapper = torchattack.PGD(
        model, None, "cpu", eps=EPS_255 / 255, steps=N_STEPS, alpha=EPS_255 / 255 / 4
    )
    ours = attacks.Attack.with_defaults("pgd", eps_255=EPS_255, n_steps=N_STEPS)
    attacked = ours(model, pixels, labels, generators=generators(N_IMAGES))
    benign, *left = (
        n_right(model, tried, labels)
        for tried in (pixels, attacked, by_foolbox, wrapper(pixels, labels))
    )
    assert benign >= 34
    assert max(left) < benign - 8  # no defence stays at its benign level
    assert max(left) - min(left) <= 4


@pytest.mark.parametrize("name", ["shield", "smooth8", "tvm"])
def test_a_random_defence_answers_subsets_in_any_order(name):
    """As AutoAttack asks: of what is left of a batch, in an order of its own."""
    network, images, labels = reader()
    defence, pixels = defence_by_name(name), images / 255

    def randomised(x, draws):
        return network(defence(x, draws))

    for function in (
        nn.Sequential(defence, network),
        of_any_batch(attacks.Expectation(randomised, generators(N_IMAGES), 2), generators(1)[0]),
    ):
        left = torch.arange(N_IMAGES)
        while len(left) > 1:
            left = left[torch.randperm(len(left))]
            logits = function(pixels[left])
            assert logits.shape == (len(left), 10)
            assert int((logits.argmax(1) == labels[left]).sum()) >= len(left) // 2
            left = left[: len(left) // 2]


def test_the_packages_function_of_a_random_defence_draws_anew_and_follows_the_seed():
    network, images, _ = reader()
    defence, pixels = defence_by_name("smooth8"), images / 255

    def asked() -> list[torch.Tensor]:
        draws = attacks.Expectation(lambda x, g: network(defence(x, g)), generators(N_IMAGES), 1)
        function = of_any_batch(draws, generators(1)[0])
        return [function(pixels[:7]) for _ in range(2)]

    first, second = asked()
    assert not torch.equal(first, second)
    assert torch.equal(first, asked()[0])
