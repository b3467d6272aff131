"""All subsets of a chain's members, and chosen ones on held-out images, as cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.defences import subsets
from core.defences.ensemble import combined
from results import schema
from search.engine.bank import Bank
from search.engine.study import Place
from search.inputs.chains import MEMBERS
from search.inputs.loading import Images, Inputs, images_of


@dataclass(frozen=True, kw_only=True)
class SubsetsCell(Inputs):
    """All subsets of one chain's members on the images that tune."""

    weights: str  # the piece of M
    table: str  # quality 50
    qs_af: int
    sigma_255: float
    xi: float
    chain: str  # the chain's cell
    attack: str
    eps_255: float
    rule: str  # "mean" or "vote"
    pieces: tuple[str, ...]  # of images, benign and adversarial


@dataclass(frozen=True, kw_only=True)
class SubsetRow:
    """One subset of the members."""

    subset: int  # bit i is member i of search.inputs.chains.MEMBERS
    members: str  # such as M+M90+M50
    n_members: int
    n_benign: int
    n_benign_right_undefended: int
    n_benign_right: int
    n_adversarial: int
    n_adversarial_right: int


@dataclass(frozen=True, kw_only=True)
class ReportCell(Inputs):
    """One ensemble on the held-out images of a kind."""

    weights: str  # the piece of M
    table: str
    sigma_255: float
    xi: float
    chain: str  # the chain's cell
    members: str
    rule: str
    attack: str
    eps_255: float
    split: str
    subject: str
    pieces: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One image."""

    image: int  # id within the split
    label: int
    undefended: int  # class that M predicts without a codec
    predicted: int


@dataclass(frozen=True)
class Said:
    """What a chain's members make of some images, and what is true."""

    outputs: Tensor  # [members, n, classes]
    images: list[Images]

    def joined(self, name: str) -> NDArray[np.int64]:
        """A field of all pieces, one after the other."""
        whole: NDArray[np.int64] = torch.cat([getattr(i, name) for i in self.images]).numpy()
        return whole

    @property
    def labelled(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Outputs and labels, as `core.defences.subsets` takes them."""
        return self.outputs.numpy(), self.joined("labels")


Found = Mapping[str, Mapping[str, tuple[str, ...]]]  # chain -> piece of images -> outputs


def load(found: Found, cell: SubsetsCell | ReportCell, place: Place) -> list[Said]:
    """Of each piece of images: what the chain's members say."""
    return [said(place.bank, piece, found[cell.chain][piece]) for piece in cell.pieces]


def said(bank: Bank, piece: str, outputs: Sequence[str]) -> Said:
    """What members make of a piece of images, from the bank's pieces of their outputs."""
    whole = torch.stack([bank.get(name)[0]["outputs"] for name in outputs])
    return Said(whole, [images_of(bank, piece)])


def together(said: Sequence[Said]) -> Said:
    """All images as one."""
    outputs = torch.cat([part.outputs for part in said], dim=1)
    return Said(outputs, [image for part in said for image in part.images])


def score(n_benign_pieces: int, cell: SubsetsCell, said: list[Said]) -> schema.Columns:
    """Count what every subset gets right; benign pieces stand first."""
    benign, attacked = together(said[:n_benign_pieces]), together(said[n_benign_pieces:])
    counts = subsets.score(*benign.labelled, *attacked.labelled, rule=cell.rule)
    undefended = int((benign.joined("undefended") == benign.joined("labels")).sum())
    numbers = range(1, len(counts.n_members) + 1)
    return {
        "subset": list(numbers),
        "members": ["+".join(subsets.names(n, MEMBERS)) for n in numbers],
        "n_members": counts.n_members,
        "n_benign": [counts.n_benign] * len(numbers),
        "n_benign_right_undefended": [undefended] * len(numbers),
        "n_benign_right": counts.n_benign_right,
        "n_adversarial": [counts.n_adversarial] * len(numbers),
        "n_adversarial_right": counts.n_adversarial_right,
    }


def predict(cell: ReportCell, said: list[Said]) -> schema.Columns:
    """What the chosen members take each image for."""
    whole = together(said)
    picked = whole.outputs[[MEMBERS.index(name) for name in cell.members.split("+")]]
    return {
        "image": whole.joined("ids"),
        "label": whole.joined("labels"),
        "undefended": whole.joined("undefended"),
        "predicted": combined(picked, cell.rule).argmax(1).numpy(),
    }


def counted(rows: schema.Table) -> tuple[str, subsets.Scores]:
    """A setting's chain, and the counts that its rows hold."""
    names = ("n_members", "n_benign_right", "n_adversarial_right")
    order = np.argsort(schema.column(rows, "subset"))
    counts: dict[str, Any] = {n: schema.column(rows, n)[order].astype(np.int64) for n in names}
    counts |= {n: int(schema.column(rows, n)[0]) for n in ("n_benign", "n_adversarial")}
    return str(schema.column(rows, "chain")[0]), subsets.Scores(**counts)
