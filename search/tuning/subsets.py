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
from core.known import MEMBERS
from results import schema
from search.engine.bank import Bank
from search.engine.study import Place
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

    subset: int  # bit i is member i of core.known.MEMBERS
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


def load(found: Found, cell: SubsetsCell | ReportCell, place: Place) -> Said:
    """What the chain's members say of the cell's images."""
    return said(place.bank, {piece: found[cell.chain][piece] for piece in cell.pieces})


def said(bank: Bank, pieces: Mapping[str, Sequence[str]]) -> Said:
    """What members make of pieces of images, from the bank's pieces of their outputs."""
    outputs = [torch.stack([bank.get(n)[0]["outputs"] for n in names]) for names in pieces.values()]
    return Said(torch.cat(outputs, dim=1), [images_of(bank, piece) for piece in pieces])


def score(n_benign: int, cell: SubsetsCell, said: Said) -> schema.Columns:
    """Count what every subset gets right; benign images stand first."""
    outputs, labels = said.labelled
    benign = outputs[:, :n_benign], labels[:n_benign]
    attacked = outputs[:, n_benign:], labels[n_benign:]
    counts = subsets.score(*benign, *attacked, rule=cell.rule)
    undefended = (said.joined("undefended") == labels)[:n_benign]
    numbers = range(1, len(counts.n_members) + 1)
    return {
        "subset": list(numbers),
        "members": ["+".join(subsets.names(n, MEMBERS)) for n in numbers],
        "n_members": counts.n_members,
        "n_benign": [counts.n_benign] * len(numbers),
        "n_benign_right_undefended": [int(undefended.sum())] * len(numbers),
        "n_benign_right": counts.n_benign_right,
        "n_adversarial": [counts.n_adversarial] * len(numbers),
        "n_adversarial_right": counts.n_adversarial_right,
    }


def predict(cell: ReportCell, said: Said) -> schema.Columns:
    """What the chosen members take each image for."""
    picked = said.outputs[[MEMBERS.index(name) for name in cell.members.split("+")]]
    return {
        "image": said.joined("ids"),
        "label": said.joined("labels"),
        "undefended": said.joined("undefended"),
        "predicted": combined(picked, cell.rule).argmax(1).numpy(),
    }


def counted(rows: schema.Table) -> tuple[str, subsets.Scores]:
    """A setting's chain, and the counts that its rows hold."""
    names = ("n_members", "n_benign_right", "n_adversarial_right")
    order = np.argsort(schema.column(rows, "subset"))
    counts: dict[str, Any] = {n: schema.column(rows, n)[order].astype(np.int64) for n in names}
    counts |= {n: int(schema.column(rows, n)[0]) for n in ("n_benign", "n_adversarial")}
    return str(schema.column(rows, "chain")[0]), subsets.Scores(**counts)
