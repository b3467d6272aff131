"""Attacks on networks behind defences: a bank of adversarial examples, and what they break.

An example is made once per attack, budget, attacked network and image, and scored under any
number of defences. The threat says which function the attacker differentiates: the undefended
network (gray box), another network (black box), or the whole defence (white box).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from core import attacks, codec, seeds
from core.defences import Defence, defence_by_name
from core.defences.ensemble import Ensemble
from core.shapes import Logits, Pixels
from results import schema
from search.engine.bank import Bank
from search.engine.study import Place, Study
from search.inputs.loading import Inputs, ensemble_of, images_of

BATCH_SIZE = 64


@dataclass(frozen=True)
class Victim:
    """Networks behind a defence: the mean softmax of all is the answer."""

    networks: tuple[str, ...]  # pieces of the bank
    tables: tuple[str, ...]  # each network's own, as qtable.by_name reads it, "" for none
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

    def __init__(self, defence: Defence, ensemble: Ensemble) -> None:
        """The ensemble's rule is not asked: an attacker differentiates the mean."""
        super().__init__()
        self.defence, self.ensemble = defence, ensemble

    def forward(
        self,
        pixels: Pixels,
        generators: Sequence[torch.Generator] | None = None,
        *,
        rounding: codec.Rounding = torch.round,
    ) -> Logits:
        """One draw of the defence; arguments as `Defence.forward` takes them."""
        seen = self.defence(pixels, generators, rounding=rounding)
        return self.ensemble.log_mean(seen, rounding=rounding)


@lru_cache(maxsize=4)
def _open(bank: Bank, victim: Victim, device: str, precision: str) -> Guarded:
    ensemble = ensemble_of(bank, victim.networks, victim.tables, device, precision)
    return Guarded(defence_by_name(victim.front), ensemble).eval().to(device)


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


EXAMPLES = Study("examples", 3, ExamplesCell, ExamplesRow, _load, _attack)


def score_study(name: str) -> Study:
    """Scores of victims; studies that ask different questions keep them under their own names."""
    return Study(name, 2, ScoreCell, ScoreRow, _load, _score)
