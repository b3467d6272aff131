"""Where a network looks, as cells: occlusion maps of images, and how much of them lies on ink."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core import codec
from core.data import Data
from core.defences import defence_by_name
from core.defences.ensemble import Guarded
from core.errors import InputError
from core.occlusion import occlusion_maps, patches
from core.shapes import Images
from search.engine.study import Made, Place, Study
from search.inputs import loading
from search.inputs.loading import Victim
from search.inputs.pictures import Pictures, blocks

INK = 0.5  # brighter pixels are ink


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """A block of images before one victim, under patches of one level."""

    defence: str  # as the study calls the victim
    networks: tuple[str, ...]
    tables: tuple[str, ...]
    front: str
    patch: int  # side, in pixels
    stride: int
    fill_255: float
    split: str
    images: str  # the piece
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image; its map, probabilities of the label, is the row's in the piece, in order."""

    image: int
    label: int
    predicted: int
    p: float  # of the label, nothing covered
    least_p: float
    drop: float  # p less what is left, summed over all places where it falls
    drop_on_ink: float  # over those where the patch covers ink
    n_places: int
    n_on_ink: int
    piece: str
    piece_bytes: int


def check(data: Data, defences: Iterable[str], *, patch: int, stride: int) -> None:
    """InputError for what no map can be made of."""
    patches(data.side, patch=patch, stride=stride)
    if data.channels != 1:
        raise InputError(
            f"expected gray images, bright ink on a dark ground, got {data.spec!r}.\n"
            "Hint: --data digits or --data mnist."
        )
    if random := [name for name in defences if defence_by_name(name).randomised]:
        raise InputError(
            f"expected defences that answer an image always alike, got {', '.join(random)}.\n"
            "Hint: with other draws at each place, a map shows the draws; jpeg10 has none."
        )


def ink_of(images: Images) -> Tensor:
    """Which pixels are ink: [n, h, w], true or false."""
    return codec.to_pixels(images)[:, 0] > INK


def _load(cell: Cell, place: Place) -> tuple[loading.Images, Guarded]:
    victim = Victim(cell.networks, cell.tables, cell.front)
    guarded = loading.victim_of(place.bank, victim, place.device, cell.precision)
    images = loading.images_of(place.bank, cell.images)
    return images.part(cell.first, cell.count, place.device), guarded


@torch.inference_mode()
def _evaluate(cell: Cell, loaded: tuple[loading.Images, Guarded]) -> Made:
    block, victim = loaded
    pixels, labels = codec.to_pixels(block.images), block.labels.to(block.images.device)
    covered = patches(cell.side, patch=cell.patch, stride=cell.stride)
    maps = occlusion_maps(victim, pixels, labels, covered, fill=cell.fill_255 / 255).cpu()
    outputs = victim(pixels).softmax(1)
    p = outputs.gather(1, labels[:, None]).cpu()
    on_ink = (ink_of(block.images).cpu()[:, None] & covered).flatten(2).any(2)
    drop = (p - maps).clamp_min(0).double()
    columns = {
        "image": block.ids,
        "label": block.labels,
        "predicted": outputs.argmax(1).cpu(),
        "p": p[:, 0].double(),
        "least_p": maps.min(1).values.double(),
        "drop": drop.sum(1),
        "drop_on_ink": (drop * on_ink).sum(1),
        "n_places": torch.full_like(block.labels, len(covered)),
        "n_on_ink": on_ink.sum(1),
    }
    side = round(len(covered) ** 0.5)
    numbers = {name: column.numpy() for name, column in columns.items()}
    return Made(numbers, {"maps": maps.reshape(-1, side, side)})


STUDY = Study("occlusion", 1, Cell, Row, _load, _evaluate, n_rows=lambda cell: cell.count)


def cells(
    inputs: loading.Inputs,
    victims: Mapping[str, Victim],
    benign: Pictures,
    *,
    patch: int,
    stride: int,
    fills_255: Iterable[float],
    block: int,
) -> Iterator[Cell]:
    """Every victim before all images, under patches of every level."""
    for defence, victim in victims.items():
        for fill in fills_255:
            for part in blocks(benign.pieces, block):
                yield Cell(
                    **inputs.fields(),
                    **victim.fields(),
                    defence=defence,
                    patch=patch,
                    stride=stride,
                    fill_255=fill,
                    split=part.piece.split,
                    images=part.piece.name,
                    first=part.first,
                    count=part.count,
                )
