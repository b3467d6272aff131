"""Images behind codecs, learned or JPEG: what they cost in bits, and what is left of them."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from core import codec, learned
from core.codec import rate
from core.codec.quality import WINDOW, ssim
from core.defences import defence_by_name
from core.learned.names import kind_of
from core.parts import at_a_time, in_parts
from core.shapes import Pixels
from search.engine.study import Made, Place, Study
from search.inputs.loading import codec_of
from search.inputs.networks import Source

N_KEPT = 8  # of a cell's images


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A block of images and a codec."""

    data: str
    side: int
    fingerprint: str
    codec: str  # as its users call it, such as "jpeg40", "bls:lambda=0.012"
    weights: str  # of a learned codec its piece in the bank, else empty
    split: str
    first: int  # id of the first image
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image; the piece holds the first `N_KEPT` as their decoder shows them, in whole levels.

    Fixed codecs are JPEG and tables in any colour space, with the standard Huffman tables.
    """

    image: int
    bits: int  # learned: of the coded string, which is decoded again; fixed: of the scan, in bytes
    bits_estimated: float | None  # learned: -log2 of the likelihood of its latents
    bits_side: float | None  # learned: of them those of the hyperlatent
    bits_marked: int | None  # fixed: from the SOS marker to the end of the file
    sse: float  # sum of squared errors, pixels in [0, 1]
    n_values: int  # of the image: pixels times channels
    ssim: float | None  # mean over channels; none for sides below its window of 11
    piece: str
    piece_bytes: int


def study(source: Source) -> Study[Cell, Place]:
    """Images of a source behind codecs."""
    how = partial(_evaluate, source)
    return Study("rate_distortion", 1, Cell, Row, _here, how, n_rows=lambda cell: cell.count)


def _here(_: Cell, place: Place) -> Place:
    return place


def _evaluate(source: Source, cell: Cell, place: Place) -> Made:
    ids = range(cell.first, cell.first + cell.count)
    images, _ = source.open().batch(cell.split, ids)
    n = len(images)
    if kind_of(cell.codec):
        network = codec_of(place.bank, f"{kind_of(cell.codec)}@{cell.weights}").to(place.device)
        pixels, found = _learned(network, codec.to_pixels(images))
        costs = {name: values.tolist() for name, values in found.items()}
        costs["bits_marked"] = [None] * n
    else:
        pixels = defence_by_name(cell.codec)(codec.to_pixels(images))
        bits, marked = (rate.bits_of(cell.codec, images, marked=m) for m in (False, True))
        costs = {"bits": bits.tolist(), "bits_marked": marked.tolist()}
        costs |= {"bits_estimated": [None] * n, "bits_side": [None] * n}
    original = codec.to_pixels(images)
    errors = (pixels.double() - original.double()).square().flatten(1)
    fits = cell.side >= WINDOW
    columns = {
        "image": list(ids),
        **costs,
        "sse": errors.sum(1).tolist(),
        "n_values": [errors.shape[1]] * n,
        "ssim": ssim(pixels, original).tolist() if fits else [None] * n,
    }
    return Made(columns, {"images": codec.to_images8(pixels[:N_KEPT])})


@torch.inference_mode()
def _learned(network: learned.Codec, pixels: Pixels) -> tuple[Pixels, dict[str, Tensor]]:
    """What strings decode to, whole multiples of 1/255, and what they cost."""
    device = next(network.parameters()).device

    def coded(part: slice) -> tuple[Tensor, ...]:
        own = pixels[part].to(device)
        latents, priced = network.latents(own), network.priced(own)
        strings = network.encode(latents)
        back = network.decode([string.data for string in strings], *own.shape[-2:])
        if not torch.equal(back, latents.round()):
            raise RuntimeError("a string decodes to other latents than were encoded")
        bits = torch.tensor([string.n_bits for string in strings])
        seen = codec.to_images8(network.picture(back, *own.shape[-2:]))
        return codec.to_pixels(seen).cpu(), bits, priced.bits.cpu(), priced.bits_side.cpu()

    parts = in_parts(coded, len(pixels), at_a_time(pixels, device))
    seen, *costs = (torch.cat(part) for part in zip(*parts, strict=True))
    return seen, dict(zip(("bits", "bits_estimated", "bits_side"), costs, strict=True))
