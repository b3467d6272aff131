"""Derivatives of rounding: closed forms, laws, and values that no choice may change."""

from functools import partial

import pytest
import torch

from core import codec
from core.codec import jpeg, qtable
from core.codec.rounding import Surrogate, by_name, cubic, is_derivative, of_quantiser, soft
from core.defences import TableDefence
from core.errors import InputError

EXACT = ("identity", "cubic", "soft", "soft:w=0.2")
VALUES = torch.cat([torch.linspace(-3, 3, 241), torch.tensor([0.5, 1.5, -2.5])]).double()


def slope_of(function, values: torch.Tensor) -> torch.Tensor:
    inputs = values.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(inputs).sum(), inputs)
    return slope


def in_quantiser(name: str, *draws):
    return of_quantiser(by_name(name, *draws))


@pytest.mark.parametrize("name", EXACT)
def test_the_value_is_that_of_torch_round_to_the_bit(name):
    inputs = VALUES.clone().requires_grad_()
    for rounded in (in_quantiser(name)(inputs), by_name(name)(VALUES)):
        assert torch.equal(rounded, VALUES.round())
        assert torch.equal(rounded.signbit(), VALUES.round().signbit())  # of zeros too


@pytest.mark.parametrize("name", EXACT)
def test_a_codec_gives_the_same_pixels_whatever_its_derivative(name):
    pixels = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)).requires_grad_()
    table = qtable.by_name("k3-of16-af116")
    for compress in (codec.compress, partial(jpeg.compress, chrominance=table)):
        plain = compress(pixels, table, rounding=torch.round)
        assert torch.equal(compress(pixels, table, rounding=by_name(name)), plain)


def test_cubic_and_identity_have_their_closed_forms():
    rest = VALUES - VALUES.round()
    torch.testing.assert_close(slope_of(cubic, VALUES), 3 * rest**2)
    assert torch.equal(slope_of(in_quantiser("identity"), VALUES), torch.ones_like(VALUES))


def test_soft_is_the_derivative_of_the_mean_under_a_dither():
    """By numbers: the mean of round(x + u), u uniform of that width, rises as `soft` says."""
    width, dither = 0.4, (torch.arange(100_000).double() + 0.5) / 100_000 - 0.5
    points = torch.tensor([0.0, 0.25, 0.35, 0.45, 0.5 + 1e-4, 0.62, 0.75, -0.4], dtype=torch.double)
    step = 1e-3

    def mean(at: torch.Tensor) -> torch.Tensor:
        return torch.stack([(x + width * dither).round().mean() for x in at])

    rise = (mean(points + step) - mean(points - step)) / (2 * step)
    found = slope_of(partial(soft, width=width), points)
    torch.testing.assert_close(found, rise, atol=0.02, rtol=0)
    assert torch.equal(slope_of(partial(soft, width=1.0), points), torch.ones_like(points))


@pytest.mark.parametrize("name", ["identity", "cubic", "soft", "soft:w=0.1"])
def test_over_a_step_every_derivative_rises_by_one(name):
    cell = (torch.arange(20_000).double() + 0.5) / 20_000
    rise = slope_of(in_quantiser(name), cell).mean()
    expected = 0.25 if name == "cubic" else 1.0  # Shin and Song's cube leaves 3/4 out, at its jump
    torch.testing.assert_close(rise, torch.tensor(expected).double(), atol=1e-3, rtol=0)


def test_dither_is_unbiased_and_each_images_own():
    values = torch.full((2, 3, 1, 1, 8, 8), 0.3, dtype=torch.double)
    draws = [torch.Generator().manual_seed(i) for i in range(2)]
    quantiser = in_quantiser("dithered", draws)
    many = torch.stack([quantiser(values) for _ in range(300)])
    assert abs(float(many.mean()) - 0.3) < 4 * float(many.std()) / many.numel() ** 0.5
    assert float(many.std()) > 0.2  # uniform over a step: 0.289
    alone = in_quantiser("dithered", [torch.Generator().manual_seed(1)])
    assert torch.equal(alone(values[1:])[0], many[0][1])
    assert torch.equal(slope_of(quantiser, values), torch.ones_like(values))


def test_inner_roundings_keep_the_identity():
    for name in ("cubic", "soft:w=0.2"):
        rounding = by_name(name)
        assert isinstance(rounding, Surrogate)
        assert torch.equal(slope_of(rounding, VALUES), torch.ones_like(VALUES))


@pytest.mark.parametrize("name", ["", "linear", "cubic:w=1", "soft:w=0", "soft:w=x", "soft:v=1"])
def test_other_names_are_errors(name):
    assert not is_derivative(name)
    with pytest.raises(InputError, match="expected a derivative among identity, cubic"):
        by_name(name)


def test_a_module_lets_a_gradient_pass_unless_asked_for_none():
    table = qtable.by_name("uniform16")
    pixels = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert slope_of(TableDefence(table), pixels).abs().sum() > 1
    assert slope_of(TableDefence(table, rounding=torch.round), pixels).abs().sum() == 0


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own use
@pytest.mark.parametrize("name", EXACT)
def test_a_derivative_passes_forwards_too(name):
    """Where no input says that it requires a gradient."""
    quantiser = in_quantiser(name)
    ones = torch.ones_like(VALUES)
    _, tangent = torch.func.jvp(quantiser, (VALUES,), (ones,))
    torch.testing.assert_close(tangent, slope_of(quantiser, VALUES))
    assert torch.equal(torch.func.jvp(by_name(name), (VALUES,), (ones,))[1], ones)
