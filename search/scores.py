"""One way to score: any victim before any pictures, a row an image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from core import codec, seeds
from core.defences.ensemble import Guarded
from core.parts import at_a_time, in_parts
from results import schema
from search.engine.study import Place, Study
from search.inputs.loading import Inputs, Origin, Victim, first_images, tensors_of, victim_of
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
    member: str | None = None  # of a chain, such as M90, or M+M90+M50
    quality: int | None = None  # of the images that it sees; none as they are, or for several
    sigma_255: float | None = None  # of their training's noise; none for M alone


@dataclass(frozen=True, kw_only=True)
class DrawnCell(Cell):
    """The same under several draws of a randomised defence."""

    n_draws: int  # that each image is scored under


@dataclass(frozen=True, kw_only=True)
class DrawnRow(Row):
    """One image under one draw."""

    draw: int  # from 0 on


Loaded = tuple[Guarded, dict[str, Tensor], str]
Origins = Mapping[str, Origin]
NOBODYS: Origins = MappingProxyType({})
C = TypeVar("C", bound=Cell)


def load(cell: Cell, place: Place) -> Loaded:
    """The victim, the piece of images, and the device."""
    victim = Victim(cell.networks, cell.tables, cell.front)
    guarded = victim_of(place.bank, victim, place.device, cell.precision)
    return guarded, tensors_of(place.bank, cell.piece), place.device


def evaluate(cell: Cell, loaded: Loaded, origins: Origins = NOBODYS) -> schema.Columns:
    """Predict; a randomised defence draws once, from the seed and the image's own id.

    Not from what was done to it, so that a benign image and its attacked version meet the same
    draw. `origins` say of what chain a victim is, by the study's name for it.
    """
    image, label = _known(cell, loaded)
    columns = {"image": image, "label": label, "predicted": _predicted(cell, loaded)}
    return columns | origins.get(cell.defence, Origin()).columns(cell.count)


def evaluate_draws(cell: DrawnCell, loaded: Loaded, origins: Origins = NOBODYS) -> schema.Columns:
    """As `evaluate`, each image under `n_draws` draws of its own: neighbouring rows.

    No attack starts from or averages over these draws.
    """
    draws = [_predicted(cell, loaded, "scored", draw) for draw in range(cell.n_draws)]
    image, label = (np.repeat(values, cell.n_draws) for values in _known(cell, loaded))
    draw, predicted = np.tile(np.arange(cell.n_draws), cell.count), np.stack(draws, 1).ravel()
    columns = {"image": image, "label": label, "draw": draw, "predicted": predicted}
    return columns | origins.get(cell.defence, Origin()).columns(len(predicted))


def _known(cell: Cell, loaded: Loaded) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels of the block's images."""
    rows = slice(cell.first, cell.first + cell.count)
    return loaded[1]["ids"][rows].numpy(), loaded[1]["labels"][rows].numpy()


@torch.inference_mode()
def _predicted(cell: Cell, loaded: Loaded, *stream: object) -> np.ndarray:
    """Each image's class under one draw, of the seed, the image's id and what `stream` names."""
    victim, tensors, device = loaded
    rows = slice(cell.first, cell.first + cell.count)
    images, ids = tensors["images"][rows], tensors["ids"][rows]

    def classes(part: slice) -> Tensor:
        draws = [seeds.generator(cell.seed, name, *stream) for name in ids[part].tolist()]
        seen: Tensor = victim(codec.to_pixels(images[part].to(device)), draws)
        return seen.argmax(1)

    predicted: np.ndarray = (
        torch.cat(in_parts(classes, len(ids), at_a_time(images, device))).cpu().numpy()
    )
    return predicted


def n_images(cell: Cell) -> int:
    """A row per image."""
    return cell.count


def study(name: str, version: int = 1) -> Study[Cell, Loaded]:
    """Scores; studies that ask different questions keep them under their own names."""
    return Study(name, version, Cell, Row, load, evaluate, sample=first_images, n_rows=n_images)


def drawn_study(name: str) -> Study[DrawnCell, Loaded]:
    """Scores of randomised defences under several draws."""
    return Study(
        name,
        1,
        DrawnCell,
        DrawnRow,
        load,
        evaluate_draws,
        sample=first_images,
        n_rows=lambda cell: cell.count * cell.n_draws,
    )


def told(study: Study[C, Loaded], victims: Mapping[str, Victim]) -> Study[C, Loaded]:
    """The study, whose rows say of what chain each victim is."""
    evaluate: Any = study.evaluate  # one of those above
    origins = {name: victim.origin for name, victim in victims.items()}
    return replace(study, evaluate=partial(evaluate, origins=origins))


def drawn(cell: Cell, n_draws: int) -> DrawnCell:
    """The same under so many draws."""
    return DrawnCell(**asdict(cell), n_draws=n_draws)


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
