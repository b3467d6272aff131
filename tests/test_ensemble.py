"""The ensemble against NumPy, on disk, and as something to differentiate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import lenet

from core import codec
from core.codec import qtable
from core.defences.ensemble import Ensemble, Member, combined
from core.errors import InputError

IMAGES = torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(1)).byte()
TABLES = {"M": None, "M70": qtable.uniform(20), "M30": qtable.by_name("k3-of16-af50@q30")}

outputs = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(2, 4)),
    elements=st.floats(0, 1, width=32),
).map(lambda a: (a + np.float32(0.01)) / (a + np.float32(0.01)).sum(-1, keepdims=True))


def ensemble(rule: str = "mean") -> Ensemble:
    members = [Member(name, lenet(i), table) for i, (name, table) in enumerate(TABLES.items())]
    return Ensemble(members, rule=rule).eval()


def by_hand() -> np.ndarray:
    """Softmax outputs [members, n, classes], member by member, in float64."""
    shares = []
    for i, table in enumerate(TABLES.values()):
        pixels = IMAGES.float() / 255
        seen = pixels if table is None else codec.compress(pixels, table)
        with torch.no_grad():
            logits = lenet(i)(seen).double().numpy()
        shares.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    return np.stack(shares)


def test_every_member_sees_its_own_quality_and_the_mean_is_numpys():
    with torch.no_grad():
        ours = ensemble()(IMAGES).numpy()
    np.testing.assert_allclose(ours, by_hand().mean(0), rtol=1e-5)  # float32's resolution, summed
    with torch.no_grad():
        assert torch.equal(ensemble()(IMAGES.float() / 255), ensemble()(IMAGES))


@given(outputs)
def test_votes_are_counted_and_ties_go_to_the_larger_mean(shares):
    found = combined(torch.from_numpy(shares), "vote").numpy()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    for image in range(shares.shape[1]):
        votes = np.bincount(shares[:, image].argmax(1), minlength=shares.shape[2])
        mean = shares[:, image].astype(np.float64).mean(0)
        leading = np.flatnonzero(votes == votes.max())
        best = mean[leading].max()
        answer = int(found[image].argmax())
        assert answer in leading
        # means that agree to float32's resolution are a tie of the tie
        assert mean[answer] >= best - 1e-6


@given(outputs)
def test_the_mean_is_the_mean(shares):
    found = combined(torch.from_numpy(shares), "mean").numpy()
    np.testing.assert_allclose(found, shares.astype(np.float64).mean(0), rtol=1e-5)


def test_a_majority_overrules_a_surer_minority():
    sure, unsure = [1.0, 0.0], [0.4, 0.6]
    shares = torch.tensor([[sure], [unsure], [unsure]])
    assert combined(shares, "mean").argmax() == 0
    assert combined(shares, "vote").argmax() == 1


@pytest.mark.parametrize("rule", ["mean", "vote"])
def test_it_reads_back_equal_from_one_file(rule, tmp_path):
    path = tmp_path / "ensemble.safetensors"
    saved = ensemble(rule)
    saved.save(path)
    loaded = Ensemble.load(path)
    assert list(tmp_path.iterdir()) == [path]
    assert loaded.names == ("M", "M70", "M30")
    assert loaded.rule == rule
    assert not loaded.training
    for ours, theirs in zip(loaded.tables, TABLES.values(), strict=True):
        assert (ours is None) if theirs is None else torch.equal(ours, theirs)
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES), saved(IMAGES))
    weights = saved.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in loaded.state_dict().items())


def test_its_gradient_is_that_of_the_mean_through_the_given_rounding():
    class Through(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.round()

        @staticmethod
        def backward(_, gradient):
            return gradient

    labels = torch.tensor([0, 1, 0, 1, 0])
    gradients = {}
    for name, rounding in (("through", Through.apply), ("exact", torch.round)):
        pixels = (IMAGES.float() / 255).requires_grad_()
        probabilities = ensemble()(pixels, rounding=rounding)
        (gradients[name],) = torch.autograd.grad(
            probabilities[range(5), labels].log().sum(), pixels
        )
        pixels = (IMAGES.float() / 255).requires_grad_()
        logs = ensemble().log_mean(pixels, rounding=rounding)
        torch.testing.assert_close(logs, probabilities.log())
    # behind torch.round only M, which has no table, passes a gradient on
    pixels = (IMAGES.float() / 255).requires_grad_()
    shares = [network(pixels if i == 0 else codec.compress(pixels.detach(), table)).softmax(1)
              for i, (network, table) in enumerate(zip(ensemble().networks, TABLES.values(),
                                                       strict=True))]  # fmt: skip
    mean = torch.stack(shares).mean(0)
    (alone,) = torch.autograd.grad(mean[range(5), labels].log().sum(), pixels)
    torch.testing.assert_close(gradients["exact"], alone)
    assert not torch.allclose(gradients["through"], alone)


def test_what_it_cannot_use_is_named(tmp_path):
    with pytest.raises(InputError, match=r"members[^$]*\nHint: "):
        Ensemble([], rule="mean")
    with pytest.raises(InputError, match="'median'"):
        ensemble("median")
    with pytest.raises(InputError, match="must lie in"):
        ensemble()(IMAGES.float())
    foreign = tmp_path / "foreign.safetensors"
    save_file({"0.weight": torch.zeros(2)}, foreign)
    with pytest.raises(InputError, match=r"format[^$]*\nHint: "):
        Ensemble.load(foreign)
    path = tmp_path / "ensemble.safetensors"
    ensemble().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=str(path)):
        Ensemble.load(path)
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match="a pickle"):
        Ensemble.load(path)


def pieces(path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def without_digest(path, *, text=lambda text: text, tensors=lambda tensors: tensors) -> None:
    """The file as an earlier version wrote it, or somebody else."""
    own, metadata = pieces(path)
    kept = {"format": metadata["format"], "ensemble": text(metadata["ensemble"])}
    save_file(tensors(own), path, metadata=kept)


def test_every_flipped_bit_of_its_file_is_an_error_or_changes_nothing(tmp_path):
    path = tmp_path / "ensemble.safetensors"
    ensemble().save(path)
    whole, n_refused = path.read_bytes(), 0
    expected = ensemble()(IMAGES)
    for place in [*range(0, 3000, 199), *range(3000, len(whole), 20_011)]:
        flipped = bytes([whole[place] ^ 1 << place % 8])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        try:
            assert torch.equal(Ensemble.load(path)(IMAGES), expected)
        except InputError:
            n_refused += 1
    assert n_refused > 15


def test_a_file_of_an_earlier_version_is_read_and_said_to_have_no_digest(tmp_path):
    path = tmp_path / "ensemble.safetensors"
    ensemble().save(path)
    without_digest(path)
    with pytest.warns(UserWarning, match="no digest"):
        loaded = Ensemble.load(path)
    assert torch.equal(loaded(IMAGES), ensemble()(IMAGES))
    loaded.save(path)
    Ensemble.load(path)


@pytest.mark.parametrize(
    "text",
    ["", "7", "[]", "{}", "[" * 10_000, '{"rule": "mean", "names": [], "networks": []}',
     '{"rule": "mean", "names": "abc", "networks": "abc"}',
     '{"rule": 1, "names": ["a"], "networks": [{}]}', '{"rule": "mean", "names": 1, "networks": 1}',
     '{"rule": "mean", "names": ["a"], "networks": ["a"]}',
     '{"rule": "mean", "names": ["a"], "networks": [{"side": 9}]}'],
)  # fmt: skip
def test_a_text_of_another_kind_is_refused(text, tmp_path):
    path = tmp_path / "ensemble.safetensors"
    ensemble().save(path)
    without_digest(path, text=lambda _: text)
    with pytest.raises(InputError, match="the ensemble is damaged"):
        Ensemble.load(path)


@pytest.mark.parametrize("what", ["huge", "nan", "more"])
def test_weights_that_no_ensemble_has_are_refused(what, tmp_path):
    path = tmp_path / "ensemble.safetensors"
    ensemble().save(path)

    def changed(tensors):
        name = max(name for name in tensors if name.endswith("weight"))
        changes = {
            "huge": {name: tensors[name] * 1e38}, "nan": {name: tensors[name] * torch.nan},
            "more": {"9.weight": tensors[name].clone()},
        }  # fmt: skip
        return tensors | changes[what]

    without_digest(path, tensors=changed)
    with pytest.raises(InputError, match="the ensemble is damaged"):
        Ensemble.load(path)
