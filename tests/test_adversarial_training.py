"""Fast and Free adversarial training against their algorithms, written out."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import Linear, TinyData, lenet
from torch.nn import functional

import results
from core.errors import InputError
from core.models import read_tensors, to_tensors
from core.training.adversarial import (
    FAST_STEP,
    FINE_TUNING,
    FastStep,
    FreeStep,
    adversarial_training,
)
from core.training.epochs import MOMENTUM, WEIGHT_DECAY
from core.training.recipes import Recipe
from jobs.adversarial_training import JOB
from results.files import Root
from results.store import Store
from search import Lab, flags, main
from search.engine.here import Here
from search.inputs import networks, trainings


def batch(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(7))
    return images.float() / 255, torch.arange(n) % 3


def sgd(model: torch.nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )


def test_fast_is_fgsm_of_one_and_a_quarter_eps_from_a_uniform_start():
    model, twin = Linear(), Linear()
    pixels, labels = batch()
    eps = 8 / 255
    step = FastStep(eps_255=8.0, generator=torch.Generator().manual_seed(3))
    loss, _ = step(model, sgd(model), pixels, labels)

    # Wong et al. 2020, algorithm 3, on clipped pixels
    unit = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(3))
    start = (pixels + eps * (2 * unit - 1)).clamp(0, 1).requires_grad_()
    functional.cross_entropy(twin(start), labels).backward()
    change = (start.detach() + 1.25 * eps * start.grad.sign() - pixels).clamp(-eps, eps)
    attacked = (pixels + change).clamp(0, 1)
    optimiser = sgd(twin)
    expected = functional.cross_entropy(twin(attacked), labels)
    optimiser.zero_grad()
    expected.backward()
    optimiser.step()
    assert FAST_STEP == 1.25
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
    # pixels that differ in the last bit of float32 move the weights by parts in a million
    torch.testing.assert_close(model.weight, twin.weight, rtol=1e-5, atol=1e-6)
    assert (attacked - pixels).abs().max() <= eps + 1e-6


def test_free_replays_each_batch_and_carries_the_perturbation_over():
    model, twin = Linear(), Linear()
    first, second = batch(), tuple(part.flip(0) for part in batch())
    step, optimiser = FreeStep(eps_255=8.0, n_replays=4), sgd(model)
    losses = [float(step(model, optimiser, *part)[0]) for part in (first, second)]

    # Shafahi et al. 2019, algorithm 1: one gradient of both, m times a batch
    eps, change, theirs = 8 / 255, torch.zeros(6, 1, 8, 8), sgd(twin)
    expected = []
    for pixels, labels in (first, second):
        for _ in range(4):
            change = change.detach().requires_grad_()
            loss = functional.cross_entropy(twin((pixels + change).clamp(0, 1)), labels)
            theirs.zero_grad()
            loss.backward()
            theirs.step()
            change = (change.detach() + eps * change.grad.sign()).clamp(-eps, eps)
        expected.append(float(loss.detach()))
    assert losses == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(model.weight, twin.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(step.state()["change"], change, rtol=0, atol=1e-6)
    assert change.abs().max() > 0


@pytest.mark.parametrize("method", ["fast", "free"])
def test_it_goes_on_from_a_state_with_the_same_bytes(method):
    def training():
        return adversarial_training(
            lenet(), TinyData(), method=method, eps_255=8.0, epochs=3, batch_size=16
        )

    whole = training()
    for _ in range(3):
        whole.epoch()
    first = training()
    first.epoch()
    second = training()
    second.restore(first.state())
    second.epoch()
    second.epoch()
    ours, theirs = to_tensors(second.model)[0], to_tensors(whole.model)[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert second.records[0].wall_s == first.records[0].wall_s > 0


@pytest.mark.parametrize(
    "changes", [{"method": "pgd"}, {"eps_255": -1.0}, {"epochs": 0}, {"learning_rate": 0.0}]
)
def test_what_cannot_be_trained_is_named(changes):
    options = {"method": "fast", "eps_255": 2.0, "epochs": 1} | changes
    with pytest.raises(InputError, match="Hint: "):
        adversarial_training(lenet(), TinyData(), **options)


def test_runs_train_all_networks_anew_and_show_how_far_they_lie_apart(tmp_path, capsys):
    words = [*JOB.smoke.split(), "--runs", "2", "--here", "--store", str(tmp_path)]
    assert main(JOB, words) == 0
    assert "the least and the most of 2 runs" in capsys.readouterr().out
    for study, n in (("classifier", 2), ("training", 4), ("chain", 2)):
        rows = results.load(study, store=tmp_path)
        assert rows["cell_id"].nunique() == n
        assert set(rows["seed"]) == {0, 1}
    lines = pd.read_parquet(next(tmp_path.glob("answers/*/robustness.parquet")))
    rows = results.load("adversarial_training_2", store=tmp_path)
    rows = rows[(rows["threat"] == "none") & (rows["defence"] == "fast eps 2")]
    each = [100 * np.mean(own["predicted"] == own["label"]) for _, own in rows.groupby("cell_id")]
    line = lines[(lines["threat"] == "none") & (lines["defence"] == "fast eps 2")].iloc[0]
    found = line[["run_least", "run_most", "accuracy"]].astype(float)
    assert found.tolist() == pytest.approx([min(each), max(each), np.mean(each)])


def test_adversarial_training_starts_from_the_weights_that_the_network_comes_with(tmp_path):
    """With a rate that hardly moves it, it is the network itself but for its running means."""
    words = ["--model", f"checkpoint:{networks.SHIPPED}"]
    asked = flags.parse(JOB.asked, name="", question="", argv=words)
    lab = Lab(Here(Store(Root(tmp_path))), asked)
    (made,) = lab.trained(["fast:eps=2"], epochs=1, learning_rate=1e-7)
    began, ours = read_tensors(networks.SHIPPED)[0], lab.tensors(made.weights)
    assert any(not torch.equal(ours[name], began[name]) for name in began)
    for name in (name for name in began if name.endswith(("weight", "bias"))):
        torch.testing.assert_close(ours[name], began[name], rtol=1e-4, atol=1e-5)
    rows = results.load("training", store=tmp_path)
    assert {Recipe(text).start for text in rows["recipe"]} == {lab.classifier}
    how = {"start": lab.classifier, "epochs": None, "learning_rate": None}
    assert trainings.cell(lab.inputs, lab.source, "fast:eps=2", **how).learning_rate == FINE_TUNING


@pytest.mark.parametrize(
    "text", ["pgd:eps=2", "fast", "fast:eps=-1", "fast:eps=2,from=", "fast:eps=2,to=a"]
)
def test_a_recipe_that_says_too_little_is_named(text):
    with pytest.raises(InputError, match="fast:eps=EPS"):
        Recipe(text)
