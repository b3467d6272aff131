"""Noise-training or adversarial training: what do robustness and its price compare to?

    python jobs/adversarial_training.py --smoke     # short training, few images
    python jobs/adversarial_training.py             # bundled digits, eps 2 and 4
    python jobs/adversarial_training.py --figure    # answer again from stored rows

Table 1 of the defensive-table paper: Fast, Free and ours (M, M90, M70, M50, M30, mean of softmax),
each as it is and under PGD with 1 and with 10 restarts. Fast and Free are attacked in the white
box; ours in both: "gray" attacks M alone, "white" the whole ensemble, through its codec.

Last answer, digits, PGD-50 at 8/255, 60 images: Fast and Free 98 %, ours 88 %, for about the time
of Fast and half of that of Free.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict

import results
from core import training
from core.training.epochs import BATCH_SIZE
from results import robustness, schema
from search import chain, chain_cli, cli, prepare
from search.engine.plan import Grid
from search.engine.sweep import Engine
from search.robustness import (
    RESTARTS,
    AdversarialTrainingCell,
    RestartsCell,
    adversarial_training_study,
)

ENSEMBLE = ("M", "M90", "M70", "M50", "M30")
Defences = dict[tuple[str, float], tuple[chain.Member, ...]]


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The job's own flags."""
    add, count = group.add_argument, cli.positive(int)
    add("--eps-255", type=cli.levels, default=(2.0, 4.0), metavar="LEVELS",
        help="budgets of training and attack, in 1/255")  # fmt: skip
    add("--sigma-255", type=cli.at_least_zero, default=8.0, metavar="LEVEL",
        help="standard deviation of the noise in training, in 1/255")  # fmt: skip
    add("--at-epochs", type=count, metavar="N", help="of Fast and Free; by data set unless given")
    add("--attack-steps", type=count, default=50, metavar="N", help="of PGD, of eps / 4 each")
    add("--restarts", type=count, default=10, metavar="N", help="of PGD")
    add("--report-benign", type=count, default=60, metavar="N", help="held-out images")
    add("--block", type=count, default=15, metavar="N", help="images per cell")
    chain_cli.add_chain_flags(group)


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Train all, attack all, and say the answer."""
    source = cli.source_of(options)
    found = prepare.held_out(
        engine, source, benign=options.report_benign, precision=options.precision
    )
    epochs = options.at_epochs or training.default_epochs(source.data)
    baselines = [
        AdversarialTrainingCell(
            **asdict(found.inputs), method=method, eps_255=eps, epochs=epochs,
            learning_rate=training.LEARNING_RATE, batch_size=BATCH_SIZE,
        )
        for eps in options.eps_255 for method in ("fast", "free")
    ]  # fmt: skip
    cells = chain_cli.cells(options, found, [options.sigma_255])
    asked = [[asdict(cell) for cell in (*baselines, *cells)], options.eps_255, options.restarts,
             options.attack_steps, options.block]  # fmt: skip
    sweep = chain_cli.sweep_of(["robustness"], found, asked)
    study = adversarial_training_study(source)
    trained = prepare.make(engine, study, baselines, sweep, label="adversarial training")
    (members,) = chain.make_chains(engine, source, cells, sweep=sweep)
    ours = tuple(member for member in members if member.name in ENSEMBLE)
    defences: Defences = {("ours", eps): ours for eps in options.eps_255}
    for cell, rows in zip(baselines, trained, strict=True):
        piece = schema.column(rows, "piece")[0]
        defences[cell.method, cell.eps_255] = (chain.Member(cell.method, piece, ""),)
    plan = Grid(RESTARTS.cell_id, list(restarts(options, found, defences)))
    outcome = engine.sweep(RESTARTS, plan, sweep, label="PGD", state=cli.state_of(options))
    return cli.failed(outcome) if outcome.failed else answer(engine, options, found, sweep)


def restarts(
    options: argparse.Namespace, found: prepare.Prepared, defences: Defences
) -> Iterator[RestartsCell]:
    """PGD on every defence, in blocks of images."""
    for (name, eps), members in sorted(defences.items(), key=lambda item: (item[0][1], item[0][0])):
        for threat in ("gray", "white") if name == "ours" else ("white",):
            for piece in found.pieces:
                for first in range(0, len(piece.images), options.block):
                    yield RestartsCell(
                        **asdict(found.inputs), defence=name, threat=threat,
                        networks=tuple(member.weights for member in members),
                        tables=tuple(member.table for member in members),
                        attacked=found.weights if threat == "gray" else "", eps_255=eps,
                        step_255=eps / 4, n_steps=options.attack_steps,
                        n_restarts=options.restarts, images=piece.name, first=first,
                        count=min(options.block, len(piece.images) - first),
                    )  # fmt: skip


def answer(engine: Engine, options: argparse.Namespace, found: prepare.Prepared, sweep: str) -> int:
    """Print and write what the stored rows say."""
    root = engine.store.root
    lines = robustness.robust_lines(results.load(RESTARTS.name, sweep=sweep, store=root))
    baselines = results.load("adversarial_training", sweep=sweep, store=root)
    walls = robustness.training_wall_s(baselines, ["method", "eps_255"])
    chains = robustness.training_wall_s(
        results.load("chain", sweep=sweep, store=root), ["sigma_255"]
    )
    walls |= {("ours", eps): sum(chains.values()) for eps in options.eps_255}
    inputs = found.inputs
    title = f"{inputs.data} {inputs.side} px, {inputs.model}, sigma {options.sigma_255:g}/255"
    text = robustness.robust_text(lines, walls)
    print(text)
    cli.print_written(results.publish_files(
        engine.store, RESTARTS.name, sweep, text=f"{title}\n{text}\n", frames={"robustness": lines}
    ))  # fmt: skip
    return 0


JOB = cli.Job(
    name="adversarial_training", question=__doc__ or "", add_flags=add_flags, run=run,
    smoke={"eps_255": (2.0,), "at_epochs": 1, "attack_steps": 2, "restarts": 2,
           "report_benign": 20, "block": 20, "epochs": 2, "chain_epochs": 1},
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
