"""A learned codec as one text: "bls:lambda=0.012", in the bank "bls@" and its piece's name."""

import re
from dataclasses import dataclass

from core import spec
from core.errors import InputError
from core.learned.codecs import KINDS

_PIECE = re.compile(rf"({'|'.join(KINDS)})@([0-9a-f]{{64}})", re.ASCII)


def kind_of(name: str) -> str:
    """The kind that a name begins with; empty where it is none of a learned codec."""
    head = re.split("[:@]", name, maxsplit=1)[0]
    return head if head in KINDS else ""


def piece_of(name: str) -> str:
    """The piece that a name such as `bls@PIECE` says; empty for any other name."""
    match = _PIECE.fullmatch(name)
    return match[2] if match else ""


@dataclass(frozen=True)
class Wanted:
    """A codec as users name it: its kind, its lambda, and what tells it from others of both."""

    kind: str
    distortion_weight: float  # lambda
    filters: int | None = None
    epochs: int | None = None


def read(name: str) -> Wanted:
    """As "bls:lambda=0.012", "bmhj:lambda=0.05,filters=128,epochs=30"; InputError for others."""
    kind, given = spec.read(name)
    try:
        whole = {key: int(given[key]) for key in ("filters", "epochs") if key in given}
        weight = float(given["lambda"])
        valid = kind in KINDS and weight > 0 and given.keys() <= {"lambda", "filters", "epochs"}
    except (KeyError, ValueError):
        valid = False
    if not valid:
        raise InputError(
            f"expected a learned codec as bls:lambda=L or bmhj:lambda=L, L above 0, got {name!r}.\n"
            "Hint: such as bls:lambda=0.012; filters=N and epochs=N tell it from others."
        )
    return Wanted(kind, weight, **whole)
