"""Training that takes no time, for tests of what is done with its outcome."""

from types import SimpleNamespace

import pytest

from core import training
from core.training.epochs import EpochRecord
from search.inputs import networks


def train_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have classifiers be random ones called lenet, said to be trained; the seeds asked for."""
    asked: list[int] = []

    def begin(data, *_, seed, **__):
        asked.append(seed)
        return SimpleNamespace(model=training.fresh(data, "lenet", seed), records=[])

    def finished(begin, epochs, *_):
        said = {"loss": 0.1, "n_correct": 768, "n_images": 768, "wall_s": 0.0}
        run = begin()
        run.records += [EpochRecord(epoch=1 + i, **said) for i in range(epochs)]
        return run, None

    monkeypatch.setattr(training, "classifier_training", begin)
    monkeypatch.setattr(networks, "finished", finished)
    return asked
