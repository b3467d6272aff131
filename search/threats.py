"""Attacks on networks behind defences: a bank of adversarial examples, and what they break.

An example is made once per attack, budget, attacked network and image, and scored under any
number of defences. The threat says which function the attacker differentiates: the undefended
network (gray box), another network (black box), or the whole defence (white box).
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from core import attacks, codec, models, qtable, seeds
from core.defences import Defence, defence_by_name
from core.ensemble import Ensemble, Member
from core.errors import InputError
from core.shapes import Logits, Pixels
from results import schema
from search import prepare
from search.bank import Bank
from search.stages import Inputs, images_of
from search.study import Place, Study
from search.sweep import Engine

BATCH_SIZE = 64
BPDA_RMS = 0.05  # of a pixel in [0, 1]: the budget of Athalye et al. (2018), section 5.2.3


@dataclass(frozen=True)
class Victim:
    """Networks behind a defence: the mean softmax of all is the answer."""

    networks: tuple[str, ...]  # pieces of the bank
    tables: tuple[str, ...]  # each network's own, as core.qtable.by_name reads it, "" for none
    front: str = "none"  # the defence before all, as core.defences.defence_by_name reads it


@dataclass(frozen=True, kw_only=True)
class ExamplesCell(Inputs):
    """An attack on a block of benign images through a victim."""

    networks: tuple[str, ...]
    tables: tuple[str, ...]
    front: str
    split: str
    images: str  # the piece of benign images
    first: int
    count: int
    attack: str
    eps_255: float
    step_255: float
    n_steps: int
    n_restarts: int
    n_samples: int  # draws a gradient is the mean of (EOT); 0 where the victim draws nothing
    eight_bit: bool


@dataclass(frozen=True, kw_only=True)
class ExamplesRow:
    """One attacked image, in the benign piece's order."""

    image: int
    label: int
    linf_255: float  # largest change of a pixel value
    l2_255: float  # Euclidean length of the change
    piece: str
    piece_bytes: int


@dataclass(frozen=True, kw_only=True)
class ScoreCell(Inputs):
    """A block of images, attacked or not, that a victim is to classify."""

    defence: str  # as the study calls the victim
    networks: tuple[str, ...]
    tables: tuple[str, ...]
    front: str
    threat: str  # "none", "gray", "black" or "white"
    attack: str
    norm: str  # of the budget: "linf" or "l2"
    eps_255: float
    n_steps: int
    n_restarts: int
    n_samples: int
    split: str
    piece: str
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One image."""

    image: int  # id within the split
    label: int
    predicted: int


class Guarded(nn.Module):
    """A victim as a network: pixels to the logarithm of the mean softmax."""

    def __init__(self, defence: Defence, ensemble: Ensemble, *, autocast: str = "") -> None:
        """`autocast` is the device on which the networks compute in bfloat16; empty: in float32."""
        super().__init__()
        self.defence, self.ensemble, self.autocast = defence, ensemble, autocast

    def forward(
        self,
        pixels: Pixels,
        generators: Sequence[torch.Generator] | None = None,
        *,
        rounding: codec.Rounding = torch.round,
    ) -> Logits:
        """One draw of the defence; arguments as `Defence.forward` takes them."""
        seen = self.defence(pixels, generators, rounding=rounding)
        if not self.autocast:
            return self.ensemble.log_mean(seen, rounding=rounding)
        with torch.autocast(self.autocast, dtype=torch.bfloat16):
            logits: Logits = self.ensemble.log_mean(seen, rounding=rounding)
        return logits.float()


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


@lru_cache(maxsize=4)
def _open(bank: Bank, victim: Victim, device: str, precision: str) -> Guarded:
    torch.backends.cudnn.deterministic = True
    members = [
        Member(name, models.from_tensors(*bank.get(name)), qtable.by_name(table) if table else None)
        for name, table in zip(victim.networks, victim.tables, strict=True)
    ]
    autocast = device if precision == "bf16" else ""
    guarded = Guarded(defence_by_name(victim.front), Ensemble(members), autocast=autocast).eval()
    return guarded.to(device).to(memory_format=torch.channels_last)


def _load(cell: ExamplesCell | ScoreCell, bank: Bank, place: Place) -> tuple[Any, ...]:
    # Attacks need gradients in full precision, whatever the victim answers in.
    precision = cell.precision if isinstance(cell, ScoreCell) else "fp32"
    victim = _open(bank, Victim(cell.networks, cell.tables, cell.front), place.device, precision)
    return victim, bank, place


@lru_cache(maxsize=4)
def _piece(bank: Bank, name: str) -> dict[str, Tensor]:
    """Benign images or examples; neighbouring cells ask for parts of one piece."""
    tensors, _ = bank.get(name)
    return tensors


def _attack(cell: ExamplesCell, inputs: tuple[Guarded, Bank, Place]) -> schema.Columns:
    victim, bank, place = inputs
    block = images_of(bank, cell.images).part(cell.first, cell.count, place.device)
    attack = attacks.Attack(
        name=cell.attack, eps_255=cell.eps_255, step_255=cell.step_255, n_steps=cell.n_steps,
        n_restarts=cell.n_restarts,
    )  # fmt: skip
    attacked = attacks.on_images(
        attack,
        partial(victim, rounding=codec.round_through),
        block.images,
        block.labels.to(place.device),
        image_ids=block.ids.tolist(),
        seed=cell.seed,
        batch_size=BATCH_SIZE,
        n_samples=cell.n_samples,
    )
    if cell.eight_bit:
        attacked = attacks.round_within(
            attacked, block.images, eps_255=cell.eps_255, norm=attack.norm
        )
    change = 255 * (codec.to_pixels(attacked) - codec.to_pixels(block.images)).flatten(1).double()
    piece, n_bytes = bank.put({"images": attacked.cpu(), "labels": block.labels, "ids": block.ids})
    return {
        "image": block.ids.numpy(),
        "label": block.labels.numpy(),
        "linf_255": change.abs().amax(1).cpu().numpy(),
        "l2_255": change.norm(dim=1).cpu().numpy(),
        "piece": [piece] * len(block.ids),
        "piece_bytes": [n_bytes] * len(block.ids),
    }


@torch.inference_mode()
def _score(cell: ScoreCell, inputs: tuple[Guarded, Bank, Place]) -> schema.Columns:
    victim, bank, place = inputs
    tensors = _piece(bank, cell.piece)
    rows = slice(cell.first, cell.first + cell.count)
    images, labels, ids = (tensors[name][rows] for name in ("images", "labels", "ids"))
    parts: list[Tensor] = []
    for first in range(0, len(ids), BATCH_SIZE):
        part = slice(first, first + BATCH_SIZE)
        draws = [seeds.generator(cell.seed, i) for i in ids[part].tolist()]
        parts.append(victim(codec.to_pixels(images[part].to(place.device)), draws).argmax(1).cpu())
    return {"image": ids.numpy(), "label": labels.numpy(), "predicted": torch.cat(parts).numpy()}


EXAMPLES = Study("examples", 2, ExamplesCell, ExamplesRow, _load, _attack)


def score_study(name: str) -> Study:
    """Scores of victims; studies that ask different questions keep them under their own names."""
    return Study(name, 1, ScoreCell, ScoreRow, _load, _score)


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
