"""The chain as a cell: what it trains, and that kills change nothing of it."""

import hashlib
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from chains import INPUTS, STUDY, cell_of, evaluate, outcome, train, trained
from tiny import TinyData, lenet

import results
from core import codec, models
from core.codec import qtable
from core.errors import InputError
from core.models import to_tensors
from core.seeds import derived
from core.training import noisy
from results import Store
from results.files import Root
from search.engine.bank import Bank, pack
from search.engine.here import Here
from search.inputs import chains
from search.inputs.loading import Inputs
from search.inputs.making import Found
from search.inputs.pictures import Piece


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> dict[str, list]:
    return outcome(evaluate(tmp_path_factory.mktemp("reference")))


def test_members_are_those_of_training_one_after_the_other_by_hand(reference):
    model = lenet()
    for place, quality in enumerate((90, 50, 30)):
        training = noisy.noisy_training(
            model, TinyData(), table=qtable.scaled(qtable.by_name("k3-of16-af116"), quality),
            sigma_255=8.0, batch_size=16, seed=derived(0, "chain", quality),
        )  # fmt: skip
        records = [training.epoch(), training.epoch()]
        piece = hashlib.sha256(pack(*to_tensors(model))).hexdigest()
        rows = slice(2 * place, 2 * place + 2)
        assert reference["piece"][rows] == [piece] * 2
        assert reference["member"][rows] == [f"M{quality}"] * 2
        assert reference["loss"][rows] == [record.loss for record in records]
        assert reference["n_correct"][rows] == [record.n_correct for record in records]
    assert reference["epoch"] == [1, 2] * 3


KILLS = [("write", 1), ("write", 2), ("put", 2), ("epoch", 2), ("put", 2)]


def test_a_chain_killed_again_and_again_ends_the_same(reference, tmp_path):
    for event, at in KILLS:  # each counts what its own process does; the first put is M
        assert train(tmp_path, event, at) == -signal.SIGKILL
    assert outcome(evaluate(tmp_path)) == reference
    assert not list((tmp_path / "training").iterdir())


@pytest.mark.parametrize("at", [1, 3])  # within a member, and within the next
def test_a_chain_killed_after_an_epoch_was_kept_trains_none_twice(at, reference, tmp_path):
    assert train(tmp_path, "write", at) == -signal.SIGKILL
    assert len(trained(tmp_path)) == at
    assert train(tmp_path) == 0
    assert len(trained(tmp_path)) == len(set(trained(tmp_path))) == 6
    assert outcome(evaluate(tmp_path)) == reference


def test_a_chain_killed_after_a_member_was_stored_trains_none_twice(tmp_path):
    assert train(tmp_path, "put", 3) == -signal.SIGKILL
    assert len(trained(tmp_path)) == 4
    assert train(tmp_path) == 0
    assert len(trained(tmp_path)) == len(set(trained(tmp_path))) == 6


def test_an_epoch_killed_before_its_state_is_kept_is_the_only_one_repeated(tmp_path):
    assert train(tmp_path, "epoch", 3) == -signal.SIGKILL
    assert train(tmp_path) == 0
    epochs = trained(tmp_path)
    assert [epochs.count(epoch) for epoch in dict.fromkeys(epochs)] == [1, 1, 2, 1, 1, 1]


SPOILS = {
    "torn": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "flipped": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "pickle": lambda _: b"\x80\x04cos\nsystem\n(S'touch /tmp/PWNED'\ntR.",
}


@pytest.mark.parametrize("kind", SPOILS)
def test_a_damaged_state_is_set_aside_and_training_starts_again(
    kind, half_trained, reference, tmp_path
):
    state = copied(half_trained, tmp_path)
    state.write_bytes(SPOILS[kind](state.read_bytes()))
    said: list[str] = []
    assert outcome(evaluate(tmp_path, say=said.append)) == reference
    assert "cannot be used" in said[0]
    assert "the cell starts from the beginning" in said[0]
    assert sum("epoch" in line for line in said) == 6
    assert list((tmp_path / "aside" / "training").iterdir())
    assert not Path("/tmp/PWNED").exists()


def test_a_state_of_another_chain_is_set_aside(half_trained, tmp_path):
    state = copied(half_trained, tmp_path)
    other = cell_of(tmp_path, sigma_255=2.0)
    state.rename(state.with_name(f"{STUDY.cell_id(other)}.safetensors"))
    said: list[str] = []
    evaluate(tmp_path, say=said.append, sigma_255=2.0)
    assert "of another cell" in said[0]


def test_a_lost_member_is_trained_again(half_trained, reference, tmp_path):
    copied(half_trained, tmp_path)
    (tmp_path / "bank" / f"{reference['piece'][0]}.safetensors").unlink()
    said: list[str] = []
    assert outcome(evaluate(tmp_path, say=said.append)) == reference
    assert "the bank has lost M90" in said[0]


def test_a_stored_chain_with_a_lost_member_counts_as_missing(tmp_path):
    rows = evaluate(tmp_path)
    bank = Bank(Root(tmp_path))
    cell = cell_of(tmp_path)
    assert Found(bank, STUDY, [cell]).tell(STUDY.cell_id(cell), rows)
    assert not Found(bank, STUDY, [cell], lambda _: False).tell(STUDY.cell_id(cell), rows)
    last = rows.column("piece").to_pylist()[-1]
    (tmp_path / "bank" / f"{last}.safetensors").unlink()
    assert not Found(bank, STUDY, [cell]).tell(STUDY.cell_id(cell), rows)


@pytest.fixture(scope="module")
def half_trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("half")
    assert train(folder, "write", 3) == -signal.SIGKILL
    return folder


def copied(source: Path, target: Path) -> Path:
    subprocess.run(["cp", "-r", f"{source}/.", str(target)], check=True)
    (state,) = (target / "training").iterdir()
    return state


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"batch_size": 1}, {"qualities": (50, 90)}, {"qualities": (90, 90)},
     {"qualities": ()}, {"codec": "png"}, {"codec": "jpeg"}, {"table": "none"},
     {"qualities": (0,)}],
)  # fmt: skip
def test_impossible_chains_are_errors(changes, tmp_path):
    with pytest.raises(InputError, match="Hint: "):
        cell_of(tmp_path, **changes)


def test_outputs_are_the_softmax_of_each_member_at_its_quality(tmp_path):
    root = Root(tmp_path)
    bank = Bank(root)
    images, labels = TinyData().batch("search", range(16))
    ids = torch.arange(16) + 100
    piece, _ = bank.put(
        {"images": images, "labels": labels, "ids": ids, "undefended": labels.clone()}
    )
    known = Piece(piece, "search", "benign", ids.numpy(), labels.numpy(), labels.numpy())
    weights, _ = bank.put(*to_tensors(lenet(4)))
    members = [chains.Member("M", weights, "")]
    members.append(chains.Member("M30", weights, "uniform16@q30", 30, 8.0))
    found = chains.make_outputs(Here(Store(root)), Inputs(**INPUTS), members, [known])
    for member, table in zip(members, (None, qtable.by_name("uniform16@q30")), strict=True):
        network = models.from_tensors(*bank.get(weights))
        pixels = images.float() / 255
        with torch.no_grad():
            logits = network(pixels if table is None else codec.compress(pixels, table))
        shares = np.exp(logits.double().numpy())
        shares /= shares.sum(1, keepdims=True)
        outputs = bank.get(found[member, piece])[0]["outputs"].numpy()
        assert outputs.dtype == np.float32
        np.testing.assert_allclose(outputs, shares, rtol=1e-5)  # float32's resolution, summed
    rows = results.load("member_outputs", store=root)[["member", "quality", "sigma_255"]]
    said = rows.drop_duplicates().astype(object)
    said = sorted(map(tuple, said.where(said.notna(), None).to_numpy()))
    assert said == [("M", None, None), ("M30", 30, 8.0)]
