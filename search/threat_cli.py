"""Flags, preparation and scoring that the studies of threats share."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import results
from core import attacks
from results.threats import Outcomes, outcomes
from search import cli, prepare, threat_plan
from search.engine.plan import Grid
from search.engine.study import Study
from search.engine.sweep import CellsFailed, Engine
from search.threats import Victim
from search.victims import Training

ATTACK_FORM = "NAME[@EPS[xSTEPS[xRESTARTS]]], eps in 1/255, such as fgsm@2 pgd@8x50x5 cw"


def add_image_flags(group: argparse._ArgumentGroup) -> None:
    """Which images are attacked."""
    add, count = group.add_argument, cli.positive(int)
    add("--report-benign", type=count, default=300, metavar="N", help="held-out images, all of "
        "them attacked")  # fmt: skip
    add("--block", type=count, default=50, metavar="N", help="images per cell")


def attacks_of(options: argparse.Namespace, texts: Sequence[str]) -> list[attacks.Attack]:
    """The attacks that a flag names; InputError where one is not to be had."""
    data = cli.source_of(options).open()
    return [threat_plan.parse_attack(t, channels=data.channels, side=data.side) for t in texts]


def training_of(options: argparse.Namespace) -> Training:
    """How the flags of chains want networks fine-tuned."""
    return Training(
        table=options.table, codec=options.codec, sigma_255=options.sigma_255, xi=options.xi,
        epochs=options.chain_epochs, learning_rate=options.learning_rate, decay=options.decay,
    )  # fmt: skip


def prepared(engine: Engine, options: argparse.Namespace) -> prepare.Prepared:
    """The classifier and held-out images; threats make their examples themselves."""
    return prepare.held_out(
        engine,
        cli.source_of(options),
        benign=options.report_benign,
        precision=options.precision,
    )


def measure(
    engine: Engine,
    options: argparse.Namespace,
    study: Study,
    found: prepare.Prepared,
    *,
    victims: dict[str, Victim],
    asked: Sequence[threat_plan.Threat],
    n_samples: int = 1,
) -> tuple[str, Outcomes]:
    """Make every example and score every victim: the sweep's name, and what was right.

    CellsFailed where a cell fails.
    """
    examples = threat_plan.make_examples(
        engine, found, asked, block=options.block, n_samples=n_samples
    )
    cells = list(threat_plan.score_cells(found, victims, examples, block=options.block))
    inputs = found.inputs
    words = [inputs.data, str(inputs.side), inputs.model, f"{len(victims)}-defences"]
    sweep = prepare.sweep_name(words, [asdict(cell) for cell in cells])
    plan = Grid(study.cell_id, cells)
    outcome = engine.sweep(study, plan, sweep, label="scores", state=cli.state_of(options))
    if outcome.failed:
        raise CellsFailed(outcome)
    rows = results.load(study.name, sweep=sweep, store=engine.store.root)
    return sweep, outcomes(rows, list(victims))


def title(found: prepare.Prepared) -> str:
    """What an answer was measured on."""
    return f"{found.inputs.data} {found.inputs.side} px, {found.inputs.model}"
