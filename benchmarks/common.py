"""What the benchmarks share: a prepared search, and words for ratios."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from jobs import qtable_search
from results.files import Root
from results.store import Store
from search import cli
from search.engine.bank import Bank
from search.engine.plan import Plan
from search.engine.study import Place
from search.engine.sweep import Engine, evaluate_cell
from search.inputs import loading


@dataclass
class Bench:
    """A search whose classifier, images and examples are made."""

    engine: Engine
    question: qtable_search.Question
    flags: list[str]

    @property
    def bank(self) -> Bank:
        """Where its pieces are."""
        return Bank(self.engine.store.root)

    def network(self, device: str = "cpu") -> torch.nn.Module:
        """Its classifier, here."""
        prepared = self.question.prepared
        return loading.classifier_of(self.bank, prepared.weights, device, prepared.inputs.precision)

    def again(self, *flags: str) -> qtable_search.Question:
        """The same search with other flags."""
        options = parse([*self.flags, *flags])
        return qtable_search.Question(options, self.question.attack, self.question.prepared)

    def cells(self) -> list[qtable_search.Cell]:
        """Every cell of the exhaustive search."""
        plan, _ = self.question.plan()
        return list(iter(plan.ask, None))

    def n_pairs(self) -> int:
        """Images times tables."""
        return sum(cell.count * len(cell.tables) for cell in self.cells())


def parse(flags: list[str]) -> Any:
    """The table search's flags."""
    return cli.parser_of(qtable_search.JOB).parse_args(flags)


def prepare(*flags: str) -> Bench:
    """Prepare a search in results/out/bench, where classifiers and images are kept for the next."""
    engine = Engine(Store(Root("results/out/bench")))
    return Bench(engine, qtable_search.ask(engine, parse(list(flags))), list(flags))


def plain_loop(
    study: Any, plan: Plan, store: Store, *, keep: Callable[[Any], None] = lambda _: None
) -> float:
    """Run a plan's cells one after the other in this process; seconds. `keep` gets their rows."""
    start = time.perf_counter()
    while (cell := plan.ask()) is not None:
        rows = evaluate_cell(study, cell, store, Place("cpu", torch.get_num_threads()))
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
