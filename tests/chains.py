"""A small chain, and a process that trains it until it is killed at a chosen moment."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny import TinySource, lenet

from core.models import to_tensors
from core.training.epochs import Training
from results import Store
from results.files import Root
from search.engine.bank import Bank
from search.engine.task import evaluate_cell
from search.inputs.chains import ChainCell, chain_study

INPUTS = {"data": "tiny", "side": 8, "fingerprint": "tiny", "model": "lenet", "seed": 0,
          "precision": "fp32"}  # fmt: skip
SETTINGS = {
    "table": "k3-of16-af116", "codec": "ours", "sigma_255": 8.0, "xi": 0.9, "epochs": 2,
    "learning_rate": 0.005, "decay": 0.94, "qualities": (90, 50, 30), "batch_size": 16,
}  # fmt: skip
STUDY = chain_study(TinySource())

# A server that has imported all, from which each training process forks within milliseconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["search.inputs.chains"])


def cell_of(root: Path, **changes) -> ChainCell:
    weights, _ = Bank(Root(root)).put(*to_tensors(lenet()))
    return ChainCell(**INPUTS, weights=weights, **(SETTINGS | changes))


def evaluate(root: Path, *, say: Callable[[str], None] = lambda _: None, **changes) -> Any:
    return evaluate_cell(STUDY, cell_of(root, **changes), Store(Root(root)), say=say)


def outcome(rows: Any) -> dict[str, list]:
    """All but the clock."""
    names = ("member", "quality", "epoch", "loss", "n_correct", "n_images", "piece")
    return {name: rows.column(name).to_pylist() for name in names}


def train(root: Path, event: str = "", at: int = 0) -> int:
    """The exit code of a process that trains the chain and kills itself after an event.

    Events: the `at`-th "epoch" trained, "write" of a training state, or member "put" in the bank.
    """
    process = _PROCESSES.Process(target=_train, args=(root, event, at))
    process.start()
    process.join()
    return process.exitcode


def trained(root: Path) -> list[tuple[float, int]]:
    """Every epoch that any process trained: its member's finest step, and its number."""
    return [tuple(json.loads(line)) for line in (root / "log").read_text().splitlines()]


def _train(root: Path, event: str, at: int) -> None:
    torch.set_num_threads(1)
    cell_of(root)  # its own put is none of a member
    events = {"epoch": (Training, "epoch"), "write": (Root, "write"), "put": (Bank, "put")}
    for kind, (owner, name) in events.items():
        setattr(owner, name, _watched(getattr(owner, name), kind, root, event, at))
    evaluate(root)


def _watched(whole: Callable, kind: str, root: Path, event: str, at: int) -> Callable:
    seen = [0]

    def call(*args):
        result = whole(*args)
        if kind == "epoch":
            with (root / "log").open("a") as file:
                print(json.dumps([float(args[0].step.table.min()), result.epoch]), file=file)
        counts = kind == event and (kind != "write" or args[1].startswith("training/"))
        seen[0] += counts
        if counts and seen[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call
