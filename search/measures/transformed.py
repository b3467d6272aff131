"""Images after a transform, as cells of the bank: made once, trained on and tested on by many."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from core import codec, learned, seeds
from core.codec import rate
from core.codec.quality import WINDOW, ssim
from core.data.base import as_split
from core.data.corrupted import PUBLISHED, published, published_digest
from core.defences import Learned
from core.errors import InputError
from core.frost import frost_digest, frost_folder, frost_textures
from core.learned.names import kind_of
from core.parts import in_parts
from core.shapes import Images8
from core.transforms import corruption_of, transformed
from search.engine.bank import Bank
from search.engine.study import Made, Place, Study
from search.inputs.loading import Inputs, codec_of
from search.inputs.networks import Source

BATCH_SIZE = 500
N_JUDGED = 250  # of a cell's images: SSIM and encoding take longer than most transforms


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A block of images after a transform; the seed and an image's id decide what is drawn."""

    data: str
    side: int
    fingerprint: str
    seed: int
    transform: str  # as `core.transforms.transformed` reads it
    weights: str  # of a learned codec its piece in the bank, else empty
    severities: str  # of a corruption: cifar10-c, imagenet-c or, where its file was read, published
    taken_from: str  # hash of frost's photographs, or of the published file
    split: str  # train, search or report
    first: int  # id within the split
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image; the piece holds images, labels and ids."""

    image: int
    label: int
    sse: float  # sum of squared changes, pixels in [0, 1]
    n_values: int  # of the image: pixels times channels
    ssim: float | None  # to the image as it was; of a cell's first images alone, from 11 pixels on
    bits: (
        int | None
    )  # of the scan, or of a learned codec's string; of the same, where it is a codec
    piece: str
    piece_bytes: int


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where corruptions come from: whose severities, frost's photographs, published files."""

    kind: str = "cifar10-c"
    frost: str | None = None
    published: str | None = None

    def said(self, transform: str, split: str) -> tuple[str, str]:
        """A cell's `severities` and `taken_from`."""
        found = corruption_of(transform)
        if found is None:
            return "", ""
        if self.published is not None and split == "report":
            return PUBLISHED, published_digest(self.published, found[0])
        frosted = frost_digest(frost_folder(self.frost)) if found[0] == "frost" else ""
        return self.kind, frosted


def study(source: Source, sources: Sources) -> Study[Cell, Place]:
    """Transforms of a source's images."""
    how = partial(_evaluate, source, sources)
    return Study("transformed", 1, Cell, Row, _here, how, n_rows=lambda cell: cell.count)


def _here(_: Cell, place: Place) -> Place:
    return place


def images_after(
    source: Source, sources: Sources, cell: Cell, bank: Bank
) -> tuple[Images8, Images8, Tensor]:
    """A cell's images as they are and after its transform, and their labels.

    InputError where frost's photographs or the published file are not those that the cell means.
    """
    data, ids = source.open(as_split(cell.split)), range(cell.first, cell.first + cell.count)
    images, labels = data.batch(cell.split, ids)
    if (cell.severities, cell.taken_from) != sources.said(cell.transform, cell.split):
        raise InputError(
            f"expected on this machine the files of {cell.transform} that the driver sees, found "
            "others.\nHint: --frost and --corrupted-root, or the package imagecorruptions, must be "
            "the same on every node."
        )
    if cell.severities == PUBLISHED:
        found = corruption_of(cell.transform)
        assert found is not None
        assert sources.published is not None
        return images, published(data, sources.published, *found, ids), labels
    stem = cell.transform.partition("@")[0]  # severities of one corruption share their draws
    draws = [seeds.generator(cell.seed, cell.split, name, stem) for name in ids]
    folder = frost_folder(sources.frost) if stem == "frost" else None
    textures = frost_textures(folder, cell.severities) if folder else ()

    def part_of(part: slice) -> Images8:
        return transformed(
            images[part],
            named(cell),
            generators=draws[part],
            kind=cell.severities or sources.kind,
            textures=textures,
            stored=lambda name: Learned(_codec(bank, name)),
        )

    return images, torch.cat(in_parts(part_of, len(ids), BATCH_SIZE)), labels


def named(cell: Cell) -> str:
    """The cell's transform, a learned codec by its piece."""
    return f"{kind_of(cell.transform)}@{cell.weights}" if cell.weights else cell.transform


@lru_cache(maxsize=2)
def _codec(bank: Bank, name: str) -> learned.Codec:
    return codec_of(bank, name).eval()


@torch.inference_mode()
def _bits(bank: Bank, cell: Cell, images: Images8) -> list[int] | list[None]:
    """Of each image's string or scan."""
    if cell.weights:
        network = _codec(bank, named(cell))
        strings = network.encode(network.latents(codec.to_pixels(images)))
        return [string.n_bits for string in strings]
    try:
        return rate.bits_of(cell.transform, images).tolist()
    except InputError:  # no codec, or one whose bits nobody counts
        return [None] * len(images)


def _evaluate(source: Source, sources: Sources, cell: Cell, place: Place) -> Made:
    images, after, labels = images_after(source, sources, cell, place.bank)
    ids = torch.arange(cell.first, cell.first + cell.count)
    before, now = (codec.to_pixels(each).double() for each in (images, after))
    likeness: list[float | None] = [None] * len(ids)
    if min(images.shape[2:]) >= WINDOW:
        likeness[:N_JUDGED] = ssim(now[:N_JUDGED], before[:N_JUDGED]).tolist()
    bits: list[int | None] = [*_bits(place.bank, cell, images[:N_JUDGED])]
    bits += [None] * (len(ids) - len(bits))
    columns = {
        "image": ids.numpy(),
        "label": labels.numpy(),
        "sse": (now - before).square().sum((1, 2, 3)).numpy(),
        "n_values": [images[0].numel()] * len(ids),
        "ssim": likeness,
        "bits": bits,
    }
    return Made(columns, {"images": after, "labels": labels, "ids": ids})


def cells(
    inputs: Inputs,
    sources: Sources,
    transform: str,
    split: str,
    *,
    weights: str = "",
    n: int,
    block: int,
) -> Iterator[Cell]:
    """The first n images of a split after a transform, in blocks; a learned codec's `weights`."""
    severities, taken_from = sources.said(transform, split)
    for first in range(0, n, block):
        yield Cell(
            data=inputs.data,
            side=inputs.side,
            fingerprint=inputs.fingerprint,
            seed=inputs.seed,
            transform=transform,
            weights=weights,
            severities=severities,
            taken_from=taken_from,
            split=split,
            first=first,
            count=min(block, n - first),
        )
