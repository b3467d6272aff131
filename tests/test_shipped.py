"""The network that comes with the package: what it is, and when it stands in for training."""

import json
from pathlib import Path

import pytest
import torch
from trained import train_at_once

from core import models
from core.data import open_data
from core.errors import InputError
from jobs import qtable_search
from results.files import Root
from results.store import Store
from search import Lab
from search.engine.bank import Bank
from search.engine.here import Here
from search.flags import parse
from search.inputs import networks


@pytest.fixture
def classifier(tmp_path, monkeypatch):
    """The piece that a run with these flags stands on; training is stood in for."""

    train_at_once(monkeypatch)

    def piece(*flags: str) -> str:
        asked = parse(qtable_search.Asked, name="", question="", argv=flags)
        return Lab(Here(Store(Root(tmp_path))), asked).classifier

    return piece


def architecture(folder: Path, piece: str) -> str:
    return Bank(Root(folder)).get(piece)[1]["architecture"]


def test_the_shipped_weights_stand_in_for_the_default_network_and_no_other(tmp_path, classifier):
    assert architecture(tmp_path, classifier()) == "small_resnet"
    for flags in (["--epochs", "11"], ["--seed", "1"], ["--model", "lenet"]):
        assert architecture(tmp_path, classifier(*flags)) == "lenet"


def test_retrain_trains_once_and_the_store_goes_on_with_it(tmp_path, classifier):
    shipped = classifier()
    assert classifier() == shipped
    own = classifier("--retrain")
    assert architecture(tmp_path, own) == "lenet"
    assert classifier("--retrain") == classifier() == own


def test_a_network_that_has_its_weights_is_not_trained_again(classifier):
    with pytest.raises(InputError, match=r"--retrain trains .* 'resnet18' comes with .*\n.*leave"):
        classifier("--retrain", "--model", "resnet18")


def test_the_shipped_weights_are_right_as_often_as_their_recipe_says():
    recipe = json.loads(models.read_tensors(networks.SHIPPED)[1]["training"])
    model, data = models.load_checkpoint(networks.SHIPPED), open_data("digits")
    images, labels = data.batch("report", range(data.size("report")))
    with torch.inference_mode():
        right = int((model(images / 255).argmax(1) == labels).sum())
    assert (right, len(labels)) == (recipe["report_right"], recipe["report_images"])
