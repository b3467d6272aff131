"""One way to score: any victim before any pictures, a row an image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core import codec, seeds
from core.defences.ensemble import Guarded
from core.parts import in_parts
from results import schema
from search.engine.study import Place, Study
from search.inputs.images import BATCH_SIZE
from search.inputs.loading import Inputs, Victim, first_images, tensors_of, victim_of
from search.inputs.pictures import Pictures, blocks


@dataclass(frozen=True, kw_only=True)
class Cell(Inputs):
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
class Row:
    """One image."""

    image: int  # id within the split
    label: int
    predicted: int


Loaded = tuple[Guarded, dict[str, Tensor], str]


def load(cell: Cell, place: Place) -> Loaded:
    """The victim, the piece of images, and the device."""
    victim = Victim(cell.networks, cell.tables, cell.front)
    guarded = victim_of(place.bank, victim, place.device, cell.precision)
    return guarded, tensors_of(place.bank, cell.piece), place.device


@torch.inference_mode()
def evaluate(cell: Cell, loaded: Loaded) -> schema.Columns:
    """Predict; a randomised defence draws once, from the seed and the image's own id.

    Not from what was done to it, so that a benign image and its attacked version meet the same
    draw.
    """
    victim, tensors, device = loaded
    rows = slice(cell.first, cell.first + cell.count)
    images, labels, ids = (tensors[name][rows] for name in ("images", "labels", "ids"))

    def classes(part: slice) -> Tensor:
        draws = [seeds.generator(cell.seed, name) for name in ids[part].tolist()]
        seen: Tensor = victim(codec.to_pixels(images[part].to(device)), draws)
        return seen.argmax(1)

    predicted = torch.cat(in_parts(classes, len(ids), BATCH_SIZE)).cpu()
    return {"image": ids.numpy(), "label": labels.numpy(), "predicted": predicted.numpy()}


def n_images(cell: Cell) -> int:
    """A row per image."""
    return cell.count


def study(name: str, version: int = 1) -> Study[Cell, Loaded]:
    """Scores; studies that ask different questions keep them under their own names."""
    return Study(name, version, Cell, Row, load, evaluate, sample=first_images, n_rows=n_images)


def cells(
    inputs: Inputs, victims: Mapping[str, Victim], pictures: Sequence[Pictures], *, block: int
) -> Iterator[Cell]:
    """Every victim before all pictures that are meant for it."""
    for name, victim in victims.items():
        for shown in pictures:
            if shown.against not in ("", name):
                continue
            attack = shown.attack
            for part in blocks(shown.pieces, block):
                yield Cell(
                    **inputs.fields(),
                    **victim.fields(),
                    defence=name,
                    threat=shown.threat,
                    attack=attack.name if attack else "none",
                    norm=attack.norm.name if attack else "linf",
                    eps_255=attack.eps_255 if attack else 0.0,
                    n_steps=attack.n_steps if attack else 0,
                    n_restarts=attack.n_restarts if attack else 0,
                    n_samples=shown.n_samples,
                    split=part.piece.split,
                    piece=part.piece.name,
                    first=part.first,
                    count=part.count,
                )
