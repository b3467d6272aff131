"""What pictures cost behind a codec, as cells: bits of each image's scan."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.codec import rate
from results import schema
from search.engine.study import Place, Study
from search.inputs import loading
from search.inputs.pictures import Pictures, blocks


@dataclass(frozen=True, kw_only=True)
class Cell(loading.Inputs):
    """A block of images and a codec."""

    codec: str  # as `core.codec.rate.bits_of` reads it
    split: str
    piece: str
    first: int  # position in the piece
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image."""

    image: int  # id within the split
    bits: int  # of the entropy-coded scan, whole bytes without the zeros stuffed between them


def load(cell: Cell, place: Place) -> loading.Images:
    """The block's images."""
    return loading.images_of(place.bank, cell.piece).part(cell.first, cell.count, "cpu")


def evaluate(cell: Cell, loaded: loading.Images) -> schema.Columns:
    """Encode each."""
    bits = rate.bits_of(cell.codec, loaded.images)
    return {"image": loaded.ids.numpy(), "bits": bits.numpy()}


def n_images(cell: Cell) -> int:
    """A row per image."""
    return cell.count


STUDY = Study("rates", 2, Cell, Row, load, evaluate, sample=loading.first_images, n_rows=n_images)


def cells(
    inputs: loading.Inputs, codecs: Iterable[str], shown: Pictures, *, block: int
) -> Iterator[Cell]:
    """Every codec on all pictures."""
    for codec in codecs:
        for part in blocks(shown.pieces, block):
            yield Cell(
                **inputs.fields(),
                codec=codec,
                split=part.piece.split,
                piece=part.piece.name,
                first=part.first,
                count=part.count,
            )
