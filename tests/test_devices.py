"""The same on every device: divisions, operands, copies and waits, without a GPU."""

import copy

import pytest
import torch
from attacked import SETTINGS, generators, tiny_network
from elsewhere import PLACE, Elsewhere, ReciprocalDivision
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from core import attacks, codec, constants, models
from core.attacks.images import through
from core.codec import frequency, qtable, scoring
from core.data import open_data
from core.data.batches import Batches
from core.defences import Ensemble, TableDefence, defence_by_name
from core.defences.ensemble import Guarded, Member
from core.models.lower import lowered
from core.training.adversarial import FastStep, FreeStep
from core.training.noisy import NoisyStep

TABLE = qtable.by_name("k3-of16-af116")
FRONTS = ("none", "k3-of16-af116", "jpeg75", "fd", "fd@rgb", "shield", "smooth8", "tvm")


@pytest.fixture(autouse=True)
def _no_constants_of_other_tests():
    constants._copied.cache_clear()
    yield
    constants._copied.cache_clear()


def pictures(spec="photos", n=8, **given):
    data = open_data(spec, **given)
    return data.batch("search", range(min(n, data.size("search"))))[0]


def small(n):
    return pictures(n=n)[..., :16, :16].contiguous()


class Moved(nn.Module):
    """A module whose weights claim to be elsewhere."""

    def __init__(self, module):
        super().__init__()
        self.called, self.weights = (
            [module],
            {k: v.to(PLACE) for k, v in module.state_dict().items()},
        )

    def forward(self, *given, **how):
        return torch.func.functional_call(self.called[0], self.weights, given, how)


def test_a_level_is_one_pixel_however_a_device_divides():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    expected = torch.arange(256).double().div(255).float().reshape(1, 1, 16, 16)
    with ReciprocalDivision():
        assert not torch.equal(levels.float() / 255, expected)  # what CUDA makes of it
        assert torch.equal(codec.to_pixels(levels), expected)


@pytest.mark.parametrize("front", ["k3-of16-af116", "jpeg75", "shield"])
def test_a_codec_gives_the_same_picture_however_a_device_divides(front):
    images, defence = pictures(side=64), defence_by_name(front)
    here = defence(codec.to_pixels(images), generators(len(images)))
    with ReciprocalDivision():
        there = defence(codec.to_pixels(images), generators(len(images)))
    assert torch.equal(here, there)


def test_training_sees_the_same_pixels_however_a_device_divides():
    def first():
        drawn = torch.Generator().manual_seed(0)
        data, device = open_data("digits"), torch.device("cpu")
        return next(iter(Batches(data, batch_size=64, generator=drawn, device=device)))[0]

    here = first()
    with ReciprocalDivision():
        assert torch.equal(here, first())


@pytest.mark.parametrize(("spec", "side"), [("photos", 224), ("photos", 32), ("digits", None)])
def test_pixels_of_torchvision_are_the_same_picture_as_bytes(spec, side):
    # v2.ToDtype multiplies by 1 / 255, so pixels are off by an ulp, and ties of the DCT would flip.
    images = pictures(spec, n=16, side=side)
    pixels = v2.ToDtype(torch.float32, scale=True)(images)
    defence = TableDefence(TABLE)
    assert torch.equal(codec.to_images8(defence(pixels)), defence(images))
    network = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Flatten())
    ensemble = Ensemble([Member("M", network, TABLE)])
    assert torch.equal(ensemble(pixels), ensemble(images))


def test_moments_of_bytes_are_whole_sums():
    images = pictures(side=32)
    with ReciprocalDivision():
        there = frequency.of_images(images)
    here = frequency.of_images(images)
    assert torch.equal(here.total, there.total)
    assert torch.equal(here.total_squares, there.total_squares)


@pytest.mark.parametrize("front", FRONTS)
def test_a_defence_keeps_to_its_device_and_copies_no_constant_twice(front):
    images, defence = small(4), defence_by_name(front)
    pixels = codec.to_pixels(images)
    here = defence(pixels, generators(4))
    with Elsewhere() as mode:
        there = pixels.to(PLACE)
        moved = Moved(defence)
        moved(there, generators(4))
        mode.counts.clear()
        out = moved(there, generators(4))
        drawn = 1 if defence.randomised else 0
        assert mode.counts["to"] == drawn, "a constant is copied in every call"
        assert mode.counts["from"] <= (3 if front == "tvm" else 0)
        torch.testing.assert_close(out.cpu(), here, atol=0, rtol=0)


PARTS = [attack for attack in SETTINGS if not attack.name.startswith("aa")]  # made of the others


@pytest.mark.parametrize("attack", PARTS, ids=lambda attack: attack.name)
def test_an_attack_keeps_to_its_device(attack):
    images, network = small(4), tiny_network()
    labels = torch.arange(4)
    here = attack(network, codec.to_pixels(images), labels, generators=generators(4))
    with Elsewhere() as mode:
        pixels, named = codec.to_pixels(images).to(PLACE), labels.to(PLACE)
        function = Moved(network)
        mode.counts.clear()
        out = attack(function, pixels, named, generators=generators(4))
        if attack.name in ("fgsm", "ifgsm", "pgd"):
            assert mode.counts["from"] == 0
        torch.testing.assert_close(out.cpu(), here, atol=1e-6, rtol=0)


def test_scoring_waits_twice_for_a_cell_however_many_batches_it_has():
    images, network = small(8), tiny_network()
    tables = [None, *(qtable.uniform(step) for step in (8, 16, 32))]
    here = scoring.predict(network, images, tables, batch_size=4)
    with Elsewhere() as mode:
        function, there = Moved(network), images.to(PLACE)
        predict = scoring.predict.__wrapped__  # wrappers know no inference mode
        with torch.no_grad():
            predict(function, there, tables, batch_size=4)
            mode.counts.clear()
            out = predict(function, there, tables, batch_size=4)
    assert mode.counts["from"] <= 2  # which pictures are distinct; what they were taken for
    assert torch.equal(out.predicted, here.predicted)


def test_a_white_box_through_a_table_waits_for_nothing():
    images, network = small(4), tiny_network()
    attack = attacks.parse_attack("pgd:through=cubic@4x3", channels=3, side=16)
    victim = Guarded(defence_by_name("k3-of16-af116"), Ensemble([Member("M", network, None)]))
    with Elsewhere() as mode:
        pixels, labels = codec.to_pixels(images).to(PLACE), torch.arange(4).to(PLACE)
        function = through(attack, Moved(victim))
        attack(function, pixels, labels, generators=generators(4))
        mode.counts.clear()
        attack(function, pixels, labels, generators=generators(4))
        assert mode.counts == {"to": 1}  # the random start


@pytest.mark.parametrize("kind", ["noisy", "fast", "free"])
def test_training_draws_the_same_noise_wherever_it_runs(kind):
    made = {
        "noisy": lambda g: NoisyStep(table=TABLE, sigma_255=8.0, xi=0.5, generator=g),
        "fast": lambda g: FastStep(eps_255=4.0, generator=g),
        "free": lambda _: FreeStep(eps_255=4.0),
    }
    images, network = small(4), tiny_network()
    pixels, labels = codec.to_pixels(images), torch.arange(4)

    def gradient(network, pixels, labels):
        pixels = pixels.detach().requires_grad_()
        step = made[kind](torch.Generator().manual_seed(3))
        if kind == "free":
            return network(pixels).sum()
        return step.loss(network, pixels, labels)[0].detach()

    here = gradient(network, pixels, labels)
    with Elsewhere():
        out = gradient(Moved(network), pixels.to(PLACE), labels.to(PLACE))
        torch.testing.assert_close(out.cpu(), here, atol=1e-5, rtol=1e-5)


class Casts(TorchDispatchMode):
    """Keeps what is made another type of."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        if function is torch.ops.aten._to_copy.default:
            self.sizes.append(args[0].numel())
        return function(*args, **(kwargs or {}))


def test_weights_in_bf16_are_cast_once_and_the_logits_are_autocasts():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.architecture("resnet20", n_classes=10, channels=3, side=32)
    network = network.eval().requires_grad_(requires_grad=False)
    pixels = codec.to_pixels(pictures(n=4))
    plain, ready = copy.deepcopy(network), lowered(network, "cpu", "bf16")
    with Casts() as before, torch.autocast("cpu", dtype=torch.bfloat16):
        expected = plain(pixels).float()
    with Casts() as after:
        found = ready(pixels)
    assert torch.equal(found, expected)
    weights = {layer.weight.numel() for layer in plain.modules() if isinstance(layer, nn.Conv2d)}
    assert weights & {*before.sizes}
    assert not [size for size in after.sizes if size in weights]
