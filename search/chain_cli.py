"""Flags and preparation that the jobs on noise-trained chains share."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from core import attacks
from core.training import noisy
from search import cli, prepare
from search.chain import MEMBERS, ChainCell, Member
from search.engine.study import say
from search.engine.sweep import Engine

SMOKE = {"report_benign": 60, "report_adversarial": 20, "epochs": 2, "chain_epochs": 1}


def add_chain_flags(group: argparse._ArgumentGroup) -> None:
    """How chains are trained."""
    add = group.add_argument
    add("--table", default="k3-of16-af51", metavar="NAME", help="table of quality 50, such as a "
        "search's winner; ijg50 with --codec jpeg")  # fmt: skip
    add("--codec", choices=noisy.CODECS, default="ours", help="quality by scaling the "
        "table, or that of the standard JPEG table")  # fmt: skip
    add("--xi", type=cli.at_least_zero, default=noisy.XI, metavar="XI",
        help="weight of images as they are")  # fmt: skip
    add("--chain-epochs", type=cli.positive(int), default=noisy.EPOCHS, metavar="N",
        help="of each of the seven fine-tuned members")  # fmt: skip
    add("--learning-rate", type=cli.positive(float), default=noisy.LEARNING_RATE,
        metavar="RATE", help="at each member's beginning")  # fmt: skip
    add("--decay", type=cli.positive(float), default=noisy.DECAY, metavar="FACTOR",
        help="of the learning rate, each epoch")  # fmt: skip


def add_image_flags(group: argparse._ArgumentGroup) -> None:
    """Which images members are tried on."""
    add, count = group.add_argument, cli.positive(int)
    add("--report-benign", type=count, metavar="N", help="benign images; 1000 or all there are")
    add("--report-adversarial", type=count, default=200, metavar="N", help="adversarial examples")
    add("--attack", choices=attacks.NAMES, default="ifgsm", help="on M: the gray box")
    add("--eps-255", type=cli.at_least_zero, default=2.0, metavar="EPS",
        help="budget of the attack, L-infinity, in 1/255; the paper's 0.008 is 2.04")  # fmt: skip


def prepared(
    engine: Engine, options: argparse.Namespace, attack: attacks.Attack
) -> prepare.Prepared:
    """M, and held-out images: benign and attacked."""
    return prepare.held_out(
        engine, cli.source_of(options), benign=options.report_benign, attack=attack,
        adversarial=options.report_adversarial, precision=options.precision,
    )  # fmt: skip


def cells(
    options: argparse.Namespace, found: prepare.Prepared, sigmas_255: Sequence[float]
) -> list[ChainCell]:
    """A chain for each noise level. InputError for what no chain can have."""
    return [
        ChainCell(
            **asdict(found.inputs), weights=found.weights, table=options.table,
            codec=options.codec, sigma_255=sigma, xi=options.xi, epochs=options.chain_epochs,
            learning_rate=options.learning_rate, decay=options.decay,
        )
        for sigma in sigmas_255
    ]  # fmt: skip


def crossed(members: Sequence[Member]) -> list[tuple[str, str, Member]]:
    """Every member's network at every member's quality: member, quality, and the two together."""
    qualities = ["none", *(name.replace("M", "q") for name in MEMBERS[1:])]
    return [
        (member.name, quality, Member(member.name, member.weights, at.table))
        for member in members
        for quality, at in zip(qualities, members, strict=True)
    ]


def title(options: argparse.Namespace, found: prepare.Prepared) -> str:
    """What an answer was measured on, in a line."""
    inputs = found.inputs
    return (
        f"{inputs.data} {inputs.side} px, {inputs.model}, table {options.table} "
        f"({options.codec}), {options.attack} eps {options.eps_255:g}/255 on M"
    )


def sweep_of(words: Sequence[str], found: prepare.Prepared, asked: object) -> str:
    """A sweep's name: words for people, then a hash of all that decides the outcome."""
    inputs = found.inputs
    pieces = [piece.name for piece in found.pieces]
    words = [inputs.data, str(inputs.side), inputs.model, *words]
    return prepare.sweep_name(words, [asdict(inputs), found.weights, pieces, asked])


def warn_of_gray_box() -> None:
    """What the numbers do not speak of."""
    say("note: gray box: the attacker knows M, and neither its fine-tuned successors nor the codec")
