"""A universal perturbation as a cell of the bank, and the same added to blocks of images."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core import codec, seeds
from core.attacks import L2, LINF, round_within
from core.attacks.universal import predicted, random_change, universal_pass
from core.defences.ensemble import Guarded
from core.errors import InputError
from core.parts import at_a_time, in_parts
from results import schema
from search.engine.study import Made, Place, Study
from search.engine.unfinished import Unfinished
from search.inputs import loading
from search.inputs.loading import Victim
from search.inputs.pictures import Pictures, blocks

NORMS = {norm.name: norm for norm in (LINF, L2)}


@dataclass(frozen=True, kw_only=True)
class MakeCell(loading.Inputs):
    """One change for all images, made from some. InputError for a delta or xi out of range."""

    weights: str  # the attacked classifier's piece in the bank
    images: tuple[str, ...]  # pieces
    n_images: int
    norm: str
    xi_255: float
    delta: float  # made until more than a share 1 - delta is fooled
    n_together: int  # images that DeepFool moves at a time, 1 in the source; 0: a random change
    n_passes: int  # at most

    def __post_init__(self) -> None:
        if not 0 <= self.delta <= 1 or not 0 <= self.xi_255 <= (
            255 if self.norm == "linf" else 1e6
        ):
            raise InputError(
                f"expected delta in 0..1 and xi in 0..255 (1/255 of a pixel), got {self.delta:g} "
                f"and {self.xi_255:g}.\nHint: delta 0.2 goes on until 80 % are fooled."
            )


@dataclass(frozen=True, kw_only=True)
class ThroughCell(MakeCell):
    """One change made through a defence, by the derivative that attacks go by (BPDA)."""

    front: str  # the defence, as `loading.defence_of` reads it


@dataclass(frozen=True, kw_only=True)
class MakeRow:
    """One pass over the images; the piece holds the change after the last."""

    number: int  # from 1; 0 for a random change
    n_fooled: int  # of the images it is made from, before it is rounded to 8 bits
    n_moved: int  # images that DeepFool moved
    pass_wall_s: float
    piece: str
    piece_bytes: int


def _here(_: MakeCell, place: Place) -> Place:
    return place


def _make(cell: MakeCell, place: Place) -> Made:
    network = loading.classifier_of(place.bank, cell.weights, place.device, "fp32")
    if isinstance(cell, ThroughCell):
        victim = Victim((cell.weights,), ("",), cell.front)
        network = loading.victim_of(place.bank, victim, place.device, "fp32")
    pieces = [loading.images_of(place.bank, piece).images for piece in cell.images]
    pixels = codec.to_pixels(torch.cat(pieces).to(place.device))
    classes = predicted(network, pixels)
    norm, n = NORMS[cell.norm], len(pixels)
    change, passes = torch.zeros_like(pixels[:1]), []
    if not cell.n_together:
        drawn = seeds.generator(cell.seed, "random change")
        change = random_change(pixels.shape[1:], xi_255=cell.xi_255, norm=norm, generator=drawn)
        change = change.to(pixels)
        n_fooled = int((predicted(network, pixels, change) != classes).sum())
        return _made(change, [[0, n_fooled, 0, 0.0]])
    kept, found = place.kept, place.kept.read()
    if found is not None:
        change, passes = found[0]["change"].to(pixels), found[1]["passes"]
    while len(passes) < cell.n_passes and not (passes and passes[-1][1] > (1 - cell.delta) * n):
        start, number = time.perf_counter(), len(passes) + 1
        order = torch.randperm(n, generator=seeds.generator(cell.seed, "universal", number))
        change, n_moved = universal_pass(
            network,
            pixels,
            classes,
            change,
            order=order.to(place.device),
            xi_255=cell.xi_255,
            norm=norm,
            n_together=cell.n_together,
        )
        n_fooled = int((predicted(network, pixels, change) != classes).sum())
        passes.append([number, n_fooled, n_moved, time.perf_counter() - start])
        kept.write({"change": change.cpu()}, {"passes": passes})
        place.say(f"xi {cell.xi_255:g}, {n} images: pass {number}: {n_fooled} fooled")
    return _made(change, passes, kept)


def _made(change: Tensor, passes: list[list[float]], kept: Unfinished | None = None) -> Made:
    names = ("number", "n_fooled", "n_moved", "pass_wall_s")
    columns = dict(zip(names, map(list, zip(*passes, strict=True)), strict=True))
    return Made(columns, {"change": change.cpu()}, unfinished=kept)


MADE = Study("universal_made", 1, MakeCell, MakeRow, _here, _make)
THROUGH = Study("universal_through", 1, ThroughCell, MakeRow, _here, _make)


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """A block of images that a victim is to classify, as they are and with one change added."""

    defence: str  # as the study calls the victim
    networks: tuple[str, ...]
    tables: tuple[str, ...]
    front: str
    norm: str  # of the change, as are the three that follow
    xi_255: float
    n_images: int
    n_together: int
    change: str  # the piece
    split: str  # "search": the images that it is made from; or "report"
    piece: str
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image; both classes are the same victim's, with the same draws."""

    image: int
    label: int
    clean: int
    perturbed: int


Loaded = tuple[loading.Images, Guarded, Tensor]


def _load(cell: Cell, place: Place) -> Loaded:
    victim = Victim(cell.networks, cell.tables, cell.front)
    guarded = loading.victim_of(place.bank, victim, place.device, cell.precision)
    images = loading.images_of(place.bank, cell.piece).part(cell.first, cell.count, place.device)
    change = loading.tensors_of(place.bank, cell.change)["change"]
    return images, guarded, change.to(place.device)


@torch.inference_mode()
def _evaluate(cell: Cell, loaded: Loaded) -> schema.Columns:
    block, victim, change = loaded
    changed = with_change(block.images, change, xi_255=cell.xi_255, norm=cell.norm)

    def classes(images: Tensor, part: slice) -> Tensor:
        draws = [seeds.generator(cell.seed, name) for name in block.ids[part].tolist()]
        seen: Tensor = victim(codec.to_pixels(images[part]), draws)
        return seen.argmax(1)

    def both(part: slice) -> Tensor:
        return torch.stack([classes(block.images, part), classes(changed, part)])

    size = at_a_time(changed, changed.device)
    clean, perturbed = torch.cat(in_parts(both, len(block.ids), size), dim=1).cpu().numpy()
    columns = {"image": block.ids.numpy(), "label": block.labels.numpy()}
    return columns | {"clean": clean, "perturbed": perturbed}


def with_change(images: Tensor, change: Tensor, *, xi_255: float, norm: str) -> Tensor:
    """8-bit images with the change added, each still within xi of what it was."""
    attacked = codec.to_pixels(images) + change
    return round_within(attacked, images, eps_255=xi_255, norm=NORMS[norm])


STUDY = Study("universal", 1, Cell, Row, _load, _evaluate, sample=loading.first_images)


def cells(
    made: MakeCell,
    change: str,
    victims: Mapping[str, Victim],
    pictures: Sequence[Pictures],
    *,
    block: int,
) -> Iterator[Cell]:
    """Every victim before every picture, block by block."""
    for each in pictures:
        for part in blocks(each.pieces, block):
            for defence, victim in victims.items():
                yield Cell(
                    **made.fields(),
                    **victim.fields(),
                    defence=defence,
                    norm=made.norm,
                    xi_255=made.xi_255,
                    n_images=made.n_images,
                    n_together=made.n_together,
                    change=change,
                    split=part.piece.split,
                    piece=part.piece.name,
                    first=part.first,
                    count=part.count,
                )
