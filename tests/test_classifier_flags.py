"""--learning-rate, --schedule, --batch: what they train, what it is called, where they are refused.

That names are as they were without them is tests/test_names.py's.
"""

import importlib

import pytest
import torch

from core.data import open_data
from core.models import to_tensors
from core.training import fit
from jobs import augmented_threats, qtable_search, threat_table
from results import schema
from results.files import Root
from results.store import Store
from search import Lab, lab, main
from search.engine.bank import Bank
from search.engine.here import Here
from search.flags import parse
from search.inputs import networks

OTHER = ("--learning-rate 0.2", "--schedule cosine", "--schedule step", "--batch 16")


def lab_of(folder, words: str, job=qtable_search) -> Lab:
    asked = parse(job.Asked, name="", question="", argv=words.split())
    return Lab(Here(Store(Root(folder))), asked)


def cell_of(folder, words: str) -> networks.ClassifierCell:
    asking = lab_of(folder, words)
    return networks.classifier_cell(asking.source, asking.data)


@pytest.mark.parametrize(
    ("model", "usual"),
    [("lenet", "--learning-rate 0.05 --batch 32"), ("resnet20", "--learning-rate .1 --batch 64")],
)
def test_what_is_usual_is_the_same_network_said_or_not_and_all_else_another(tmp_path, model, usual):
    plain = cell_of(tmp_path, f"--model {model}")
    assert cell_of(tmp_path, f"--model {model} --schedule one-cycle {usual}") == plain
    more = ("--learning-rate 0.2000000000000001", "--learning-rate 0.2 --batch 16")
    cells = [plain, *(cell_of(tmp_path, f"--model {model} {words}") for words in (*OTHER, *more))]
    assert len({schema.cell_id("classifier", 2, cell) for cell in cells}) == len(cells)
    assert cells[-1].model == f"{model}, learning rate 0.2, batch 16"


def test_the_network_of_the_bank_is_the_one_that_the_flags_train_and_is_found_again(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)  # other threads, other bytes
    words = "--epochs 1 --learning-rate 0.02 --schedule constant --batch 100"
    piece = lab_of(tmp_path, words).classifier
    tensors, _ = Bank(Root(tmp_path)).get(piece)
    model, _ = fit(
        open_data("digits"), "small_resnet", epochs=1, learning_rate=0.02, schedule="constant",
        batch_size=100,
    )  # fmt: skip
    expected, _ = to_tensors(model)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    again = Lab(Here(Store(Root(tmp_path)), stored_only=True), lab_of(tmp_path, words).asked)
    assert again.classifier == piece  # though this one may train nothing


def test_another_network_is_trained_as_is_usual_for_it(tmp_path, monkeypatch):
    plain, given = (lab_of(tmp_path, f"--model lenet {words}") for words in ("", OTHER[1]))
    names = [asking.surrogate("resnet20")[1] for asking in (plain, given)]
    assert names[0] == names[1]
    twin, named = given.surrogate(None), given.surrogate("lenet")
    assert twin == named
    assert (twin[0].schedule, twin[1].model) == ("cosine", "lenet, cosine")
    trained = []
    monkeypatch.setattr(lab, "make", lambda _, __, cells, *___, **____: trained.extend(cells) or [])
    for asking in (plain, given):
        asking.trained(["fast:eps=2"])
    assert trained[0] == trained[1]


def test_a_shipped_network_has_the_surrogate_that_the_flags_train(tmp_path):
    asking = lab_of(tmp_path, "--retrain --batch 16", threat_table)
    _, cell = asking.surrogate("small_resnet")
    assert cell.model == "small_resnet, batch 16"


def test_flags_of_a_studys_own_networks_say_nothing_of_a_classifier(tmp_path):
    words = "--learning-rate 0.5 --batch 7"
    assert lab_of(tmp_path, words, augmented_threats).inputs.model == "small_resnet"


@pytest.mark.parametrize("flag", OTHER)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "comes with its weights.\nHint: --retrain trains it here"),
        ("--model resnet18 --data photos", "'resnet18' comes with its weights.\nHint: leave"),
        (f"--model checkpoint:{networks.SHIPPED}", "comes with its weights.\nHint: leave"),
    ],
)
def test_where_nothing_is_trained_they_are_refused(flag, words, said, tmp_path, capsys):
    argv = [*words.split(), *flag.split(), "--here", "--store", str(tmp_path)]
    assert main(qtable_search.JOB, argv) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith(f"error: {flag.split()[0]} ")


@pytest.mark.parametrize("name", ["augmentation_spectrum", "denoise", "rate_distortion",
                                  "corruption_robustness", "compressed_training"])  # fmt: skip
def test_where_no_classifier_takes_part_they_are_refused(name, tmp_path, capsys):
    job = importlib.import_module(f"jobs.{name}").JOB
    for flag in OTHER:
        option = flag.split()[0]
        if getattr(job.asked, option[2:].replace("-", "_")) is None:
            assert main(job, ["--smoke", *flag.split(), "--here", "--store", str(tmp_path)]) == 2
            told = capsys.readouterr().err
            assert f"no classifier takes part in this study, so {option} does not matter" in told


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--batch 1", "of at least 2"),
        ("--schedule linear", "one-cycle, cosine, step, constant"),
        ("--learning-rate 0", "above 0"),
        ("--learning-rate nan", "expected a number"),
    ],
)
def test_values_that_train_nothing_are_wrong_usage(flag, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        lab_of(tmp_path, flag)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
