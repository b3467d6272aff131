"""What the benchmarks share: a prepared search, and words for ratios."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import begin  # noqa: F401
import torch

from jobs import qtable_search
from results.files import Root
from results.store import Store
from search import Lab
from search.engine.bank import Bank
from search.engine.engine import Engine
from search.engine.plan import Plan
from search.engine.task import evaluate_cell
from search.flags import parse
from search.inputs import loading
from search.inputs.loading import SCREENED
from search.screening import cheapest
from search.tables.plan import Cell, Question


@dataclass
class Bench:
    """A search whose classifier, images and examples are made."""

    engine: Engine
    lab: Lab
    question: Question
    asked: qtable_search.Asked

    @property
    def bank(self) -> Bank:
        """Where its pieces are."""
        return Bank(self.engine.store.root)

    def network(self, device: str = "cpu") -> torch.nn.Module:
        """Its classifier, here."""
        asked = self.question
        return loading.classifier_of(self.bank, asked.weights, device, asked.inputs.precision)

    def again(self, **flags: Any) -> Question:
        """The same search with some flags changed, also given ones: `block=256`."""
        return qtable_search.ask(self.lab, replace(self.asked, **flags))

    def cells(self) -> list[Cell]:
        """Every cell of the exhaustive search."""
        plan, _ = self.question.plan()
        return list(iter(plan.ask, None))

    def n_pairs(self) -> int:
        """Images times tables."""
        return sum(cell.count * len(cell.tables) for cell in self.cells())


def prepare(*flags: str) -> Bench:
    """Prepare a search in results/out/bench, where classifiers and images are kept for the next."""
    asked = parse(qtable_search.Asked, name=qtable_search.JOB.name, question="", argv=flags)
    engine = Engine(Store(Root("results/out/bench")), cpus=asked.cpus, gpus=asked.gpus)
    lab = Lab(engine, asked)
    question = qtable_search.ask(lab, asked)
    if asked.precision == SCREENED:
        precision = cheapest(lab, question)
        question = replace(question, inputs=replace(question.inputs, precision=precision))
    return Bench(engine, lab, question, asked)


def plain_loop(
    study: Any, plan: Plan, store: Store, *, keep: Callable[[Any], None] = lambda _: None
) -> float:
    """Run a plan's cells one after the other in this process; seconds. `keep` gets their rows."""
    start = time.perf_counter()
    while (cell := plan.ask()) is not None:
        rows = evaluate_cell(study, cell, store, n_threads=torch.get_num_threads())
        keep(rows)
        plan.tell(study.cell_id(cell), study.digest(rows))
    return time.perf_counter() - start


def count_forwards(network: torch.nn.Module) -> Callable[[], int]:
    """Count the pictures that a network sees from now on."""
    seen = [0]
    network.register_forward_pre_hook(
        lambda _, inputs: seen.__setitem__(0, seen[0] + len(inputs[0]))
    )
    return lambda: seen[0]


def claim(what: str, value: float, limit: float, *, at_most: bool = True) -> bool:
    """Print a measured ratio beside what is claimed; whether it holds."""
    holds = value <= limit if at_most else value >= limit
    sign = "<=" if at_most else ">="
    print(f"{'ok  ' if holds else 'MISS'} {what}: {value:.3f} ({sign} {limit:g})", flush=True)
    return holds
