"""What cells name and load: images, networks and victims of the bank, kept by the process."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn

from core import learned, models
from core.codec import qtable
from core.codec.screen import Screen
from core.defences import Defence, Denoised, Ensemble, Learned, defence_by_name
from core.defences.ensemble import Guarded
from core.defences.ensemble import Member as Behind
from core.errors import InputError
from core.learned import names
from core.models import denoiser, lower
from search.engine.bank import Bank
from search.engine.study import Place

SCREENED = "screened"  # a precision: see `screening_of`


class InputFields(TypedDict):
    """The fields of `Inputs`, for the making of cells."""

    data: str
    side: int
    fingerprint: str
    model: str
    seed: int
    precision: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """How rows name what they were measured on, the same in every cell of a search."""

    data: str
    side: int
    fingerprint: str  # of the data set's content and splits
    model: str
    seed: int
    precision: str  # "fp32", "bf16" or, where a search is screened, as "screened:fp16:0.01"

    def fields(self) -> InputFields:
        """Of these six alone, whatever the cell has beside them."""
        return cast(
            "InputFields", {name: getattr(self, name) for name in InputFields.__annotations__}
        )


@dataclass(frozen=True, kw_only=True)
class BlockCell(Inputs):
    """A block of images, benign or attacked, that a network is to classify."""

    weights: str  # the classifier's piece in the bank
    attack: str
    eps_255: float
    split: str  # "search" or "report"
    subject: str  # "benign" or "adversarial"
    piece: str  # the images' piece in the bank
    first: int  # position in the piece, whose images stand in order of margin
    count: int


def first_images(cell: Any, n: int = 8) -> Any:
    """The same of a block's first images alone."""
    return replace(cell, count=min(cell.count, n))


class VictimFields(TypedDict):
    """The fields of `Victim`, for the making of cells."""

    networks: tuple[str, ...]
    tables: tuple[str, ...]
    front: str


@dataclass(frozen=True)
class Origin:
    """Members of which chain: what rows say beside the names of pieces."""

    member: str | None = None  # such as M90, or M+M90+M50
    quality: int | None = None  # of the images that it sees; none as they are, or for several
    sigma_255: float | None = None  # of their training's noise; none for M alone

    def columns(self, n_rows: int) -> dict[str, list[str | int | float | None]]:
        """The same in each of so many rows."""
        return {name: [value] * n_rows for name, value in vars(self).items()}


@dataclass(frozen=True)
class Victim:
    """Networks behind a defence: the mean softmax of all is the answer."""

    networks: tuple[str, ...]  # pieces of the bank
    tables: tuple[str, ...]  # each network's own, as qtable.by_name reads it, "" for none
    front: str = "none"  # the defence before all, as `defence_of` reads it
    origin: Origin = field(default=Origin(), compare=False)

    def fields(self) -> VictimFields:
        """As a cell takes them."""
        return {"networks": self.networks, "tables": self.tables, "front": self.front}


@dataclass(frozen=True)
class Images:
    """A piece's content. Rows stand in ascending order of margin."""

    images: Tensor  # uint8, or float32 in [0, 1] for unrounded adversarial examples
    labels: Tensor
    ids: Tensor
    undefended: Tensor

    def part(self, first: int, count: int, device: str) -> "Images":
        """Some neighbours, their pictures on a device."""
        rows = slice(first, first + count)
        images = self.images[rows].to(device)
        return Images(images, self.labels[rows], self.ids[rows], self.undefended[rows])


def load_block(cell: BlockCell, place: Place) -> tuple[Images, nn.Module | Screen]:
    """The cell's images, on the device, and the network, screened where the cell says so."""
    images = images_of(place.bank, cell.piece).part(cell.first, cell.count, place.device)
    made = partial(classifier_of, place.bank, cell.weights, place.device)
    if screening := screening_of(cell.precision):
        kind, margin = screening
        return images, Screen(made("fp32"), made(kind), margin)
    return images, made(cell.precision)


def screening_of(precision: str) -> tuple[str, float] | None:
    """What screens and the margin below which float32 decides; None where nothing is screened."""
    name, _, how = precision.partition(":")
    if name != SCREENED or not how:
        return None
    kind, _, margin = how.partition(":")
    return kind, float(margin)


def screened_by(kind: str, margin: float) -> str:
    """The precision of cells that are screened so."""
    return f"{SCREENED}:{kind}:{margin:g}"


@lru_cache(maxsize=4)
def tensors_of(bank: Bank, piece: str) -> dict[str, Tensor]:
    """A piece's tensors; neighbouring cells ask for parts of one piece."""
    tensors, _ = bank.get(piece)
    return tensors


@lru_cache(maxsize=4)
def images_of(bank: Bank, piece: str) -> Images:
    """A piece of images."""
    return Images(**tensors_of(bank, piece))


@lru_cache(maxsize=8)
def classifier_of(bank: Bank, piece: str, device: str, precision: str) -> nn.Module:
    """The network, ready to predict and to be attacked on `device`."""
    network = models.folded(models.from_tensors(*bank.get(piece)))
    network = network.eval().requires_grad_(requires_grad=False)
    # On an H200 full float32 is 16 % slower with channels last (ResNet-50), bf16 30 % faster.
    first = device == "cuda" and precision not in lower.HALVES
    layout = torch.contiguous_format if first else torch.channels_last
    network = network.to(device).to(memory_format=layout)
    return network if precision == "fp32" else lower.lowered(network, device, precision)


@lru_cache(maxsize=4)
def victim_of(bank: Bank, victim: Victim, device: str, precision: str) -> Guarded:
    """A victim, each network ready as `classifier_of` makes it."""
    ready = [
        Behind(
            piece, classifier_of(bank, piece, device, precision), qtable.by_name(table or "none")
        )
        for piece, table in zip(victim.networks, victim.tables, strict=True)
    ]
    guarded = Guarded(defence_of(bank, victim.front), Ensemble(ready))
    return guarded.eval().to(device)


def defence_of(bank: Bank, name: str) -> Defence:
    """As `defence_by_name`, what was learned by its piece: `bls@PIECE`, `denoiser-both@PIECE`."""
    return defence_by_name(name, partial(_stored, bank))


def _stored(bank: Bank, name: str) -> Defence:
    if not denoiser.is_denoiser(name):
        return Learned(codec_of(bank, name))
    found = denoiser.piece_of(name)
    if not found:
        raise InputError(
            f"expected a denoiser as denoiser-both@PIECE, got {name!r}.\n"
            "Hint: names such as denoiser:sigma=0.1 are looked up before cells are made."
        )
    skips, piece = found
    return Denoised(denoiser.from_tensors(bank.get(piece)[0], skips=skips))


def codec_of(bank: Bank, name: str) -> learned.Codec:
    """The learned codec that a name as `bls@PIECE` says; InputError for a piece of another kind.

    `search.inputs.codecs.stored` finds the piece of `bls:lambda=0.012` among a store's rows.
    """
    piece, kind = names.piece_of(name), names.kind_of(name)
    if not piece:
        raise InputError(
            f"expected a learned codec as bls@PIECE, got {name!r}.\n"
            "Hint: names such as bls:lambda=0.012 are looked up before cells are made."
        )
    tensors, metadata = bank.get(piece)
    codec = learned.from_tensors(tensors, metadata)
    if metadata["kind"] != kind:
        raise InputError(f"{name} is a codec of another kind.\nHint: {metadata['kind']}@{piece}.")
    return codec


def members_of(
    bank: Bank, names: Sequence[str], networks: Sequence[str], tables: Sequence[str]
) -> list[Behind]:
    """Networks of the bank as they were trained, behind their tables ("" for none)."""
    return [
        Behind(name, models.from_tensors(*bank.get(piece)), qtable.by_name(table or "none"))
        for name, piece, table in zip(names, networks, tables, strict=True)
    ]
