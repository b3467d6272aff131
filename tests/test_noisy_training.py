"""Noisy training and the loop below it: its formula, its limits, and training taken up again."""

import numpy as np
import pytest
import torch
from tiny import Linear, TinyData, lenet
from torch import nn

from core import codec
from core.codec import qtable
from core.errors import InputError
from core.known import QUALITIES
from core.models import to_tensors
from core.training import epochs
from core.training.epochs import MOMENTUM, WEIGHT_DECAY, Training
from core.training.noisy import (
    NoisyStep,
    decaying,
    noisy_images,
    noisy_loss,
    noisy_training,
    table_name,
)
from core.training.steps import PlainStep

TABLE = qtable.by_name("k3-of16-af116@q70")


@pytest.fixture(autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=generator(7))
    return images.float() / 255, torch.arange(n) % 3


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def test_loss_and_gradient_are_the_formulas():
    # J' = xi mean(-log p_y(x)) + (1 - xi) mean(-log p_y(z)); for logits W x + b its gradient in W
    # is xi mean((p(x) - e_y) x^T) + (1 - xi) mean((p(z) - e_y) z^T).
    model, xi = Linear(), 0.7
    pixels, labels = batch()
    noisy = noisy_images(pixels, TABLE, sigma_255=20.0, generator=generator())
    loss, logits = noisy_loss(model, pixels, noisy, labels, xi=xi)
    loss.backward()

    weight, bias = (p.detach().double().numpy() for p in (model.weight, model.bias))
    value, gradient = 0.0, np.zeros_like(weight)
    for share, images in ((xi, pixels), (1 - xi, noisy)):
        flat = images.flatten(1).double().numpy()
        p = softmax(flat @ weight.T + bias)
        value += share * -np.log(p[np.arange(5), labels]).mean()
        gradient += share * (p - np.eye(3)[labels]).T @ flat / 5
    # float32 arithmetic on sums of 64 products: relative errors of some 1e-6
    assert float(loss.detach()) == pytest.approx(value, rel=1e-5)
    np.testing.assert_allclose(model.weight.grad.numpy(), gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logits, model(pixels))


def test_one_step_of_training_is_sgd_along_that_gradient():
    model, twin = Linear(), Linear()
    pixels, labels = batch()
    optimiser = torch.optim.SGD(
        model.parameters(), lr=0.005, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    step = NoisyStep(table=TABLE, sigma_255=8.0, xi=0.9, generator=generator(3))
    loss, _ = step(model, optimiser, pixels, labels)

    noise = torch.randn(pixels.shape, generator=generator(3)) * 8 / 255
    noisy = (codec.compress(pixels, TABLE) + noise).clamp(0, 1)
    expected = 0.9 * nn.functional.cross_entropy(twin(pixels), labels)
    expected = expected + 0.1 * nn.functional.cross_entropy(twin(noisy), labels)
    expected.backward()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        whole = theirs.grad + WEIGHT_DECAY * theirs.detach()
        # Nesterov's first step: the buffer is the gradient, the step its (1 + momentum)-fold
        after = theirs.detach() - 0.005 * (1 + MOMENTUM) * whole
        torch.testing.assert_close(ours.detach(), after, rtol=1e-5, atol=1e-7)


def test_noise_has_its_deviation_and_is_clipped():
    middle = torch.full((8, 1, 32, 32), 128 / 255)
    noisy = noisy_images(middle, qtable.uniform(1), sigma_255=16.0, generator=generator())
    change = (noisy - 128 / 255) * 255
    # 8192 draws: the standard error of the deviation is 16 / sqrt(2 * 8192) = 0.125
    assert abs(float(change.std()) - 16) < 0.5
    assert abs(float(change.mean())) < 5 * 16 / 8192**0.5
    white = noisy_images(torch.ones(1, 1, 32, 32), TABLE, sigma_255=16.0, generator=generator())
    assert float(white.max()) == 1
    assert 0.4 < float((white == 1).float().mean()) < 0.6


def test_no_sigma_is_no_noise_and_draws_none():
    pixels, _ = batch()
    drawn = generator()
    noisy = noisy_images(pixels, TABLE, sigma_255=0.0, generator=drawn)
    assert torch.equal(noisy, codec.compress(pixels, TABLE))
    assert torch.equal(drawn.get_state(), generator().get_state())


def weights_of(training: Training, epochs: int) -> dict[str, torch.Tensor]:
    for _ in range(epochs):
        training.epoch()
    return to_tensors(training.model)[0]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def noisy(**changes) -> Training:
    options = {"table": TABLE, "sigma_255": 8.0, "xi": 0.9, "batch_size": 16} | changes
    return noisy_training(lenet(), TinyData(), **options)


def test_with_xi_one_it_is_plain_training_bit_for_bit():
    plain = Training(
        lenet(), TinyData(), step=PlainStep(), rate=decaying(0.005, 0.94), batch_size=16
    )
    expected = weights_of(plain, 3)
    assert same(weights_of(noisy(xi=1.0), 3), expected)
    assert not same(weights_of(noisy(xi=0.9), 3), expected)


def test_sigma_quality_and_seed_all_matter_and_a_run_repeats():
    reference = weights_of(noisy(), 1)
    assert same(weights_of(noisy(), 1), reference)
    for changes in ({"sigma_255": 0.0}, {"table": qtable.uniform(90)}, {"seed": 1}):
        assert not same(weights_of(noisy(**changes), 1), reference)


def test_the_rate_is_multiplied_each_epoch():
    rate = decaying(0.005, 0.94)
    rates = [rate(step, 4) for step in range(12)]
    assert rates == [0.005] * 4 + [0.005 * 0.94] * 4 + [0.005 * 0.94**2] * 4


@pytest.mark.parametrize("epochs_before", [1, 2])
def test_training_taken_up_again_ends_with_the_same_bytes(epochs_before):
    expected = noisy()
    weights_of(expected, 4)
    first = noisy()
    weights_of(first, epochs_before)
    state = first.state()
    first.epoch()  # a state is a copy: what comes after does not reach it
    second = noisy()
    second.restore(state)
    assert second.records == first.records[:epochs_before]
    for _ in range(4 - epochs_before):
        second.epoch()
    ours, theirs = second.state(), expected.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours if n != "records.all")
    # all but the clock
    assert torch.equal(ours["records.all"][:, :4], theirs["records.all"][:, :4])


@pytest.mark.parametrize("n_steps", [1, 3, 5])  # of three an epoch
def test_training_taken_up_within_an_epoch_ends_with_the_same_bytes(n_steps, monkeypatch):
    expected, first, kept = noisy(), noisy(), []
    weights_of(expected, 3)
    monkeypatch.setattr(epochs, "KEEP_S", -1.0)
    while len(kept) < n_steps:
        first.epoch(lambda: kept.append(first.state()))
    second = noisy()
    second.restore(kept[n_steps - 1])
    assert len(second.records) == (n_steps - 1) // 3
    weights_of(second, 3 - len(second.records))
    ours, theirs = second.state(), expected.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours if n != "records.all")
    assert torch.equal(ours["records.all"][:, :4], theirs["records.all"][:, :4])


def test_a_short_epoch_is_not_kept_within():
    noisy().epoch(lambda: pytest.fail("kept"))


def test_dropout_goes_on_where_it_was():
    def training() -> Training:
        torch.manual_seed(5)
        model = nn.Sequential(nn.Dropout(0.5), Linear())
        return Training(model, TinyData(), step=PlainStep(), rate=decaying(0.1, 1.0), batch_size=16)

    whole = training()
    for _ in range(3):
        whole.epoch()
    first = training()
    first.epoch()
    second = training()
    second.restore(first.state())
    second.epoch()
    second.epoch()
    assert torch.equal(whole.model[1].weight, second.model[1].weight)


@pytest.mark.parametrize("spoil", ["missing", "shape", "foreign", "generator", "momentum"])
def test_a_state_that_does_not_fit_is_refused(spoil):
    training = noisy()
    training.epoch()
    state = training.state()
    noisy().restore(state)
    if spoil == "missing":
        del state["model.backbone.classifier.1.weight"]
    elif spoil == "shape":
        state["order.state"] = state["order.state"][:10]
    elif spoil == "foreign":
        del state["step.noise"]
    elif spoil == "momentum":  # as versions called it that knew SGD alone
        state = {name.replace("optimiser", "momentum"): held for name, held in state.items()}
    else:
        state["global.0"] = state["global.0"][:7].clone()
    with pytest.raises(InputError, match=r"state of this training[^$]*\nHint: "):
        noisy().restore(state)


def test_names_of_tables_at_a_quality():
    assert table_name("ours", "k3-of16-af116", 70) == "k3-of16-af116@q70"
    assert table_name("jpeg", "ijg50", 70) == "ijg70"
    assert table_name("ours", "ijg50", 70) == "ijg50@q70"
    assert torch.equal(qtable.by_name("ijg50@q70"), qtable.ijg(70))
    for wrong in (("jpeg", "uniform16", 70), ("png", "uniform16", 70), ("ours", "none", 70)):
        with pytest.raises(InputError):
            table_name(*wrong)
    assert QUALITIES == (90, 80, 70, 60, 50, 40, 30)


@pytest.mark.parametrize(
    "changes",
    [{"xi": 1.5}, {"xi": -0.1}, {"sigma_255": -1.0}, {"sigma_255": float("nan")},
     {"learning_rate": 0.0}, {"decay": 1.5}],
)  # fmt: skip
def test_numbers_out_of_range_are_named(changes):
    with pytest.raises(InputError, match="Hint: "):
        noisy(**changes)
