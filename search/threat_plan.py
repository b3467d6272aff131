"""Which attacks on which victims, as cells: the examples in the bank, then their scores."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from core import attacks
from core.defences import defence_by_name
from core.errors import InputError
from results import schema
from search import prepare
from search.engine.sweep import Engine
from search.threats import EXAMPLES, ExamplesCell, ScoreCell, Victim

BPDA_RMS = 0.05  # of a pixel in [0, 1]: the budget of Athalye et al. (2018), section 5.2.3


def parse_attack(text: str, *, channels: int, side: int) -> attacks.Attack:
    """Read NAME[@EPS[xSTEPS[xRESTARTS]]], such as fgsm@2, pgd@8x50x5, cw:confidence=5, bpda.

    BPDA alone has the budget of its authors, scaled to the image.

    Raises:
        InputError: another form, an unknown attack, or settings that it cannot have.
    """
    number = r"(\d+(?:\.\d+)?)"
    match = re.fullmatch(rf"([^@]+)(?:@{number}(?:x(\d+))?(?:x(\d+))?)?", text)
    if match is None:
        raise InputError(
            f"expected an attack as NAME, NAME@EPS, NAME@EPSxSTEPS or NAME@EPSxSTEPSxRESTARTS, "
            f"got {text!r}.\nHint: as in fgsm@2 pgd@8x50x5 cw."
        )
    name, eps, n_steps, n_restarts = match.groups()
    if eps is None and name.partition(":")[0] == "bpda":
        eps = round(255 * BPDA_RMS * math.sqrt(channels * side**2))
    return attacks.Attack.with_defaults(
        name,
        eps_255=None if eps is None else float(eps),
        n_steps=None if n_steps is None else int(n_steps),
        n_restarts=None if n_restarts is None else int(n_restarts),
    )


@dataclass(frozen=True)
class Threat:
    """An attack, the kind of threat, and the victim that the attacker differentiates.

    `against` is the one defence that it is aimed at (white box); empty: all meet the same examples.
    """

    kind: str
    attack: attacks.Attack
    victim: Victim
    against: str = ""


def make_examples(
    engine: Engine,
    found: prepare.Prepared,
    threats: Sequence[Threat],
    *,
    block: int,
    n_samples: int,
    eight_bit: bool = True,
) -> list[tuple[Threat, ExamplesCell, str]]:
    """Every threat's examples in the bank, made or found: threat, cell and piece of each block."""
    asked = [
        (threat, replace(
            _examples_cell(found, threat, n_samples, eight_bit=eight_bit),
            split=piece.split, images=piece.name, first=first, count=count,
        ))
        for threat in threats
        for piece in found.pieces
        for first, count in _parts(len(piece.images), block)
    ]  # fmt: skip
    cells = list(dict.fromkeys(cell for _, cell in asked))
    inputs = found.inputs
    sweep = prepare.sweep_name([inputs.data, str(inputs.side), "examples"], inputs.fingerprint)
    rows = prepare.make(engine, EXAMPLES, cells, sweep, label="adversarial examples")
    pieces = {cell: schema.column(made, "piece")[0] for cell, made in zip(cells, rows, strict=True)}
    return [(threat, cell, pieces[cell]) for threat, cell in asked]


def _examples_cell(
    found: prepare.Prepared, threat: Threat, n_samples: int, *, eight_bit: bool
) -> ExamplesCell:
    """The cell of a threat, but for its block of images."""
    attack, draws = threat.attack, defence_by_name(threat.victim.front).randomised
    # Its authors take one draw a step: a thousand steps are its expectation.
    wanted = 1 if attack.name.startswith("bpda") else n_samples
    return ExamplesCell(
        **asdict(found.inputs), **asdict(threat.victim), split="", images="", first=0, count=0,
        attack=attack.name, eps_255=attack.eps_255, step_255=attack.step_255,
        n_steps=attack.n_steps, n_restarts=attack.n_restarts, n_samples=wanted if draws else 0,
        eight_bit=eight_bit,
    )  # fmt: skip


def _parts(n_images: int, block: int) -> Iterator[tuple[int, int]]:
    for first in range(0, n_images, block):
        yield first, min(block, n_images - first)


def score_cells(
    found: prepare.Prepared,
    victims: dict[str, Victim],
    examples: Sequence[tuple[Threat, ExamplesCell, str]],
    *,
    block: int,
) -> Iterator[ScoreCell]:
    """Every victim on the benign images and on the examples that are meant for it."""
    for name, victim in victims.items():
        for piece in found.pieces:
            for first, count in _parts(len(piece.images), block):
                yield ScoreCell(
                    **asdict(found.inputs), **asdict(victim), defence=name, threat="none",
                    attack="none", norm="linf", eps_255=0.0, n_steps=0, n_restarts=0, n_samples=0,
                    split=piece.split, piece=piece.name, first=first, count=count,
                )  # fmt: skip
        for threat, cell, piece_name in examples:
            if threat.against in ("", name):
                yield ScoreCell(
                    **asdict(found.inputs), **asdict(victim), defence=name, threat=threat.kind,
                    attack=cell.attack, norm=threat.attack.norm.name, eps_255=cell.eps_255,
                    n_steps=cell.n_steps, n_restarts=cell.n_restarts, n_samples=cell.n_samples,
                    split=cell.split, piece=piece_name, first=0, count=cell.count,
                )  # fmt: skip
