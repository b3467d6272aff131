"""The laws that every attack keeps, and the settings that one may have."""

import inspect

import pytest
import torch
from attacked import SETTINGS, generators, noise_images, noise_labels, tiny_network
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core import attacks
from core.attacks import auto_families, catalogue, gradients
from core.attacks.catalogue import FAMILIES, UNBOUNDED_255
from core.errors import InputError

EVERY = pytest.mark.parametrize("attack", SETTINGS, ids=lambda a: a.name)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return tiny_network()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return noise_images()


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return noise_labels()


def length_255(change, norm):
    flat = change.flatten(1).double() * 255
    return (flat.abs().amax(1) if norm is attacks.LINF else flat.norm(dim=1)).max()


def test_the_laws_are_asked_of_every_attack_but_autoattack():
    asked = {attack.name.partition(":")[0] for attack in SETTINGS}
    assert asked == {name for name in attacks.NAMES if not name.startswith("autoattack")}


@EVERY
def test_zero_budget_is_the_identity(attack, network, images, labels):
    still = attacks.Attack.with_defaults(attack.name, eps_255=0.0, n_steps=attack.n_steps)
    out = still(network, images / 255, labels, generators=generators(24))
    assert torch.equal(out, images / 255)


@EVERY
@pytest.mark.parametrize("eps_255", [0.5, 2.0, 7.9, 150.0])
def test_budget_and_range_hold(attack, eps_255, network, images, labels):
    own = attacks.Attack.with_defaults(attack.name, eps_255=eps_255, n_steps=attack.n_steps)
    out = attacks.on_images(own, network, images, labels, image_ids=range(24), seed=0)
    pixels = images / 255
    # A float32 pixel is off by up to 2^-25, 768 of them together by the root of that many.
    assert length_255(out - pixels, own.norm) <= eps_255 + 255 * 768**0.5 * 2**-25
    assert 0 <= out.min() <= out.max() <= 1
    rounded = attacks.round_within(out, images, eps_255=eps_255, norm=own.norm)
    assert length_255(rounded.double() / 255 - images.double() / 255, own.norm) <= eps_255 + 1e-9


DIRECT = {
    "fgsm": lambda *a, **_: attacks.fgsm(*a, eps_255=4.0),
    "ifgsm:momentum=1": lambda *a, **_: attacks.ifgsm(
        *a, eps_255=4.0, step_255=1.0, n_steps=3, momentum=1.0
    ),
    "pgd": lambda *a, **k: attacks.pgd(
        *a, eps_255=4.0, step_255=1.0, n_steps=4, n_restarts=1, **k
    ),
    "fgsm-l2": lambda *a, **_: attacks.fgsm(*a, eps_255=127.5, norm=attacks.L2),
    "ifgsm-l2": lambda *a, **_: attacks.ifgsm(
        *a, eps_255=127.5, step_255=31.875, n_steps=4, norm=attacks.L2
    ),
    "pgd-l2": lambda *a, **k: attacks.pgd(
        *a, eps_255=127.5, step_255=31.875, n_steps=4, n_restarts=1, norm=attacks.L2, **k
    ),
    "tifgsm:kernel=5": lambda *a, **_: attacks.tifgsm(
        *a, eps_255=4.0, step_255=0.4, n_steps=3, kernel=attacks.gaussian_kernel(5)
    ),
    "difgsm": lambda *a, **k: attacks.difgsm(
        *a, eps_255=4.0, step_255=0.4, n_steps=4, probability=0.5, smallest=0.9, **k
    ),
    "deepfool": lambda *a, **_: attacks.deepfool(
        *a, n_steps=50, overshoot=0.02, n_candidates=10, eps_255=UNBOUNDED_255
    ),
    "cw:rate=0.1,searches=3": lambda *a, **_: attacks.carlini_wagner(
        *a, n_steps=30, n_searches=3, rate=0.1, confidence=0.0, first_c=1e-3,
        eps_255=UNBOUNDED_255,
    ),
    "bpda:rate=1": lambda *a, **_: attacks.bpda(*a, eps_255=127.5, rate=1.0, n_steps=30),
}  # fmt: skip


@pytest.mark.parametrize("name", DIRECT)
def test_a_name_runs_its_function_with_its_settings(name, network, images, labels):
    attack = next(a for a in SETTINGS if a.name == name)
    named = attack(network, images / 255, labels, generators=generators(24))
    direct = DIRECT[name](network, images / 255, labels, generators=generators(24))
    assert torch.equal(named, direct)
    assert not torch.equal(named, images / 255)


FUNCTIONS = {
    "fgsm": attacks.fgsm, "ifgsm": attacks.ifgsm, "ifgsm-l2": attacks.ifgsm, "pgd": attacks.pgd,
    "pgd-l2": attacks.pgd, "tifgsm": attacks.tifgsm, "difgsm": attacks.difgsm,
    "deepfool": attacks.deepfool,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_alone_has_its_names_usual_values(name, network, images, labels):
    function = FUNCTIONS[name]
    how = {} if name == "deepfool" else {"eps_255": 300.0 if name.endswith("l2") else 7.0}
    how |= {"norm": attacks.L2} if name.endswith("l2") else {}
    own = {"generators": generators(24)} if name in ("pgd", "pgd-l2", "difgsm") else {}
    attack = attacks.parse_attack(name + (f"@{how['eps_255']:g}" if how else ""))
    named = attack(network, images / 255, labels, generators=generators(24))
    assert torch.equal(function(network, images / 255, labels, **how, **own), named)
    if own:
        torch.manual_seed(0)
        alone = function(network, images / 255, labels, **how)
        torch.manual_seed(0)
        assert torch.equal(attack(network, images / 255, labels), alone)
        assert not torch.equal(alone, named)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("apgd", attacks.apgd),
        ("apgd-t", attacks.apgd_targeted),
        ("fab", attacks.fab),
        ("square", attacks.square),
        ("aa", attacks.standard),
        ("autoattack", attacks.autoattack),
        ("cw", attacks.carlini_wagner),
        ("bpda@99", attacks.bpda),
    ],
)
def test_what_runs_long_has_its_names_usual_values_too(name, function, network, monkeypatch):
    home = auto_families if hasattr(auto_families, function.__name__) else catalogue
    given = {}
    monkeypatch.setattr(home, function.__name__, lambda *a, **how: given.update(how) or a[1])
    attacks.parse_attack(name)(network, torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=int))
    defaults = {key: of.default for key, of in inspect.signature(function).parameters.items()}
    alike = set(given) - {"generators", "norm", "eps_255"}
    assert alike
    assert {key: given[key] for key in alike} == {key: defaults[key] for key in alike}


def test_too_few_generators_are_named(network, images, labels):
    with pytest.raises(InputError, match="one generator per image, 24, got 3"):
        attacks.pgd(network, images / 255, labels, eps_255=8.0, generators=generators(3))


@EVERY
def test_same_seed_same_bytes_whatever_the_batch(attack, images, labels):
    network = tiny_network().double()  # so that the batch's own float rounding does not show
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


@EVERY
def test_global_generators_are_left_alone(attack, network, images, labels):
    before = torch.random.get_rng_state()
    attacks.on_images(attack, network, images, labels, image_ids=range(24), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["pgd", "pgd-l2", "difgsm:probability=1", "apgd", "apgd-l2"])
def test_the_seed_moves_what_is_random(name, network, images, labels):
    short = attacks.Attack.with_defaults(name, eps_255=8.0, n_steps=1)
    first, second = (
        attacks.on_images(short, network, images, labels, image_ids=range(24), seed=seed)
        for seed in (3, 4)
    )
    assert not torch.equal(first, second)


def test_an_image_does_not_feel_its_neighbours(network, images, labels):
    alone = gradients.loss_gradient(network, images[:1] / 255, labels[:1])
    together = gradients.loss_gradient(network, images / 255, labels)[:1]
    torch.testing.assert_close(alone, together)


def test_a_target_is_reached_and_its_own_images_stay(network, images, labels):
    wide = attacks.Attack.with_defaults("ifgsm:target=2", eps_255=60.0)
    out = attacks.on_images(wide, network, images, labels, image_ids=range(24), seed=0)
    own = labels == 2  # left alone
    assert 0 < own.sum() < 24
    assert torch.equal(out[own], images[own] / 255)
    assert (network(out[~own]).argmax(1) == 2).all()


def test_the_least_likely_class_is_each_images_own(network, images, labels):
    named = attacks.Attack.with_defaults("fgsm:target=least-likely", eps_255=4.0)
    out = attacks.on_images(named, network, images, labels, image_ids=range(24), seed=0)
    least = network(images / 255).argmin(1)
    ours = attacks.fgsm(network, images / 255, least, eps_255=4.0, targeted=True)
    moved = least != labels
    assert torch.equal(out[moved], ours[moved])


def test_a_target_that_the_network_does_not_know_is_named(network, images, labels):
    unknown = attacks.Attack.with_defaults("fgsm:target=5", eps_255=4.0)
    with pytest.raises(InputError, match=r"classes 0\.\.4, got 5"):
        unknown(network, images / 255, labels, generators=generators(24))


def test_rounding_keeps_a_whole_budget_and_clips_a_broken_one(images):
    assert torch.equal(attacks.round_within(images / 255, images, eps_255=2.0), images)
    grey = torch.full((1, 1, 1, 3), 100, dtype=torch.uint8)
    moved = torch.tensor([102.6, 97.4, 101.4]).reshape(1, 1, 1, 3) / 255
    assert attacks.round_within(moved, grey, eps_255=2.6).flatten().tolist() == [102, 98, 101]


CHANGES = st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=12)


@given(changes=CHANGES, eps_255=st.floats(0.0, 60.0))
def test_rounding_in_l2_keeps_the_budget_and_the_nearest_levels_where_they_fit(changes, eps_255):
    grey = torch.full((1, 1, 1, len(changes)), 100, dtype=torch.uint8)
    moved = (100 + torch.tensor(changes).reshape(grey.shape)) / 255
    out = attacks.round_within(moved, grey, eps_255=eps_255, norm=attacks.L2)
    change = out.double() - 100
    assert change.norm() <= eps_255
    nearest = (moved.double() * 255).round() - 100
    if (moved.double() * 255 - 100).norm() <= eps_255 and nearest.norm() <= eps_255:
        assert torch.equal(change, nearest)


def test_rounding_in_l2_uses_the_room_that_is_left():
    grey = torch.full((1, 1, 1, 4), 100, dtype=torch.uint8)
    moved = torch.tensor([102.6, 101.9, 100.7, 99.45]).reshape(1, 1, 1, 4) / 255
    # Cut: 2, 1, 0, 0 of length^2 5. Up by nearness: 1.9 (+3), 0.7 (+1), 2.6 (+5), -0.55 (+1).
    for eps_255, kept in ((3.5, [2, 2, 1, 0]), (3.75, [3, 2, 1, 0]), (3.9, [3, 2, 1, -1])):
        out = attacks.round_within(moved, grey, eps_255=eps_255, norm=attacks.L2)
        assert (out.int() - 100).flatten().tolist() == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fgsn"}, "must be one of fgsm, ifgsm, pgd"),
        ({"eps_255": -1.0}, "0..255"),
        ({"eps_255": float("nan")}, "0..255"),
        ({"name": "ifgsm", "eps_255": float("nan")}, "0..255"),
        ({"n_steps": 3}, "fgsm takes one step of the whole budget"),
        ({"step_255": 1.0}, "fgsm takes one step of the whole budget"),
        ({"name": "ifgsm", "n_restarts": 2}, "got 2 restarts"),
        ({"name": "pgd", "n_steps": 0}, "at least 1 step"),
        ({"name": "cw", "eps_255": 2e6}, r"0\.\.1e\+06"),
        ({"name": "cw", "step_255": 1.0}, "chooses the size of its steps"),
        ({"name": "autoattack", "n_steps": 5}, "chooses the number of its steps"),
        ({"name": "square", "n_steps": 5}, "square has queries"),
        ({"name": "square:queries=0"}, "at least 1"),
        ({"name": "square:share=0"}, "above 0, at most 1"),
        ({"name": "apgd:loss=mse"}, "one of ce, dlr, margin"),
        ({"name": "fab:targets=0"}, "at least 1"),
        ({"name": "aa", "step_255": 1.0}, "chooses the size of its steps"),
        ({"name": "bpda", "eps_255": None}, "a budget for bpda"),
        ({"name": "cw:overshoot=1"}, "cw has the settings confidence, searches"),
        ({"name": "cw:"}, "got ''"),
        ({"name": "cw:confidence"}, "expected confidence at least 0, got ''"),
        ({"name": "cw:confidence=-1"}, "at least 0, got '-1'"),
        ({"name": "cw:rate=nan"}, "above 0"),
        ({"name": "cw:searches=2.5"}, "at least 1"),
        ({"name": "tifgsm:kernel=4"}, "an odd number"),
        ({"name": "tifgsm:kernel=-3"}, "an odd number"),
        ({"name": "difgsm:probability=2"}, "in 0..1"),
        ({"name": "deepfool:candidates=1"}, "at least 2"),
        ({"name": "fgsm:target=least"}, "a class number or least-likely"),
        ({"name": "autoattack:version=best"}, "standard, plus or rand"),
    ],
)
def test_impossible_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        attacks.Attack.with_defaults(**({"name": "fgsm", "eps_255": 2.0} | arguments))


def test_an_attack_has_one_spelling():
    assert attacks.Attack.with_defaults("cw:searches=6,confidence=5.0,rate=0.01").name == (
        "cw:confidence=5,searches=6"
    )
    with pytest.raises(InputError, match="expected the attack spelled 'cw'"):
        attacks.Attack(name="cw:rate=0.01", eps_255=1.0, step_255=0.0, n_steps=1, n_restarts=1)


@pytest.mark.parametrize(
    ("name", "usual"),
    [  # eps, step, steps: as the sources in core/attacks/catalogue.py have them
        ("fgsm", (2.0, 2.0, 1)),
        ("ifgsm", (2.0, 1.0, 2)),
        ("pgd", (2.0, 0.5, 10)),
        ("fgsm-l2", (127.5, 127.5, 1)),
        ("pgd-l2", (127.5, 31.875, 10)),
        ("tifgsm", (2.0, 0.2, 10)),
        ("difgsm", (2.0, 0.2, 10)),
        ("deepfool", (UNBOUNDED_255, 0.0, 50)),
        ("cw", (UNBOUNDED_255, 0.0, 1000)),
        ("apgd", (2.0, 0.0, 100)),
        ("apgd-t-l2", (127.5, 0.0, 100)),
        ("fab", (2.0, 0.0, 100)),
        ("square-l2", (127.5, 0.0, 1)),
        ("aa", (2.0, 0.0, 100)),
        ("autoattack", (2.0, 0.0, 1)),
    ],
)
def test_usual_settings(name, usual):
    attack = attacks.Attack.with_defaults(name)
    assert (attack.eps_255, attack.step_255, attack.n_steps, attack.n_restarts) == (*usual, 1)


def test_every_setting_has_a_valid_default():
    for family in FAMILIES.values():
        assert all(setting.valid(setting.default) for setting in family.settings.values())
