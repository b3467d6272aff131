"""Quantization tables: by rule, by name, and as text that libjpeg's cjpeg reads.

Tables are float64 [8, 8] of whole steps in natural (row-major) order; [0, 0] is DC.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from core.errors import InputError
from core.known import N_DIAGONALS
from core.shapes import QTable

# ITU-T T.81 (1992), table K.1 (luminance).
_IJG_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def check(table: Tensor) -> QTable:
    """The table as float64, or InputError where it is not 8x8 whole steps in 1..255."""
    if table.shape != (8, 8):
        raise InputError(
            f"a quantization table must be 8x8, got {tuple(table.shape)}.\n"
            "Hint: give 64 steps, row by row, in natural (not zigzag) order."
        )
    steps = table.to(torch.float64)
    bad = ~((steps >= 1) & (steps <= 255) & (steps == steps.round()))
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise InputError(
            f"quantizer steps must be whole numbers in 1..255, got {float(steps[row, column]):g} "
            f"at row {row}, column {column} ({int(bad.sum())} such steps).\n"
            "Hint: baseline JPEG stores a step in 8 bits (T.81, B.2.4.1)."
        )
    return steps


def uniform(step: int) -> QTable:
    """The same step for all 64 coefficients."""
    return check(torch.full((8, 8), float(step)))


def ijg(quality: int) -> QTable:
    """The IJG luminance table at a quality of 1..100 (T.81 table K.1, libjpeg's scaling)."""
    return scaled(torch.tensor(_IJG_LUMINANCE, dtype=torch.float64), quality)


def scaled(table: QTable, quality: int) -> QTable:
    """A quality-50 table at another quality, by the IJG rule (libjpeg jcparam.c).

    Scale is 5000/q percent below 50, else 200 - 2q; steps are clamped to 1..255.
    """
    if not 1 <= quality <= 100:
        raise InputError(
            f"quality must lie in 1..100, got {quality}.\nHint: 50 is the table as is."
        )
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((table * percent + 50) / 100).floor().clamp(1, 255)


def feature_distillation() -> QTable:
    """Feature Distillation's table: 25 for the 4x4 lowest frequencies, 30 for the others.

    Source: Liu et al. (2019), "Feature Distillation: DNN-Oriented JPEG Compression Against
    Adversarial Examples", as the defensive-table paper sets it.
    """
    table = uniform(30)
    table[:4, :4] = 25
    return table


def n_in_diagonals(k: int) -> int:
    """How many coefficients have u + v < k: 1, 3, 6, 10, ... 64 for k = 1..15."""
    return sum(8 - abs(7 - diagonal) for diagonal in range(k))


def in_space(name: str, space: str) -> str:
    """What defences call a table that quantises in a colour space: in RGB by its name alone."""
    return name if space == "rgb" else f"{name}@{space}"


@dataclass(frozen=True, kw_only=True)
class Defensive:
    """A table of the paper's family: low diagonals finely, the others coarsely quantised.

    Source: "defensive quantization table" paper, section 3.2: coefficients with u + v < k are
    original-favoured (OF), the others adversary-favoured (AF).
    """

    pattern: int  # k, the number of OF diagonals: 1..15
    qs_of: int  # step of the OF coefficients
    qs_af: int  # step of the AF coefficients
    space: str = "rgb"  # of the pictures that it quantises: `core.defences.SPACES`

    def __post_init__(self) -> None:
        if not 1 <= self.pattern <= N_DIAGONALS:
            raise InputError(
                f"partition pattern k must lie in 1..15, got {self.pattern}.\n"
                "Hint: an 8x8 block has 15 diagonals; k of them are original-favoured."
            )

    @cached_property
    def name(self) -> str:
        """How rows and files call it; `by_name` reads it back, and in another space a defence."""
        return in_space(f"k{self.pattern}-of{self.qs_of}-af{self.qs_af}", self.space)

    @cached_property
    def n_favoured(self) -> int:
        """How many coefficients are OF."""
        return n_in_diagonals(self.pattern)

    def table(self) -> QTable:
        """The 8x8 steps; InputError for a step outside 1..255."""
        index = torch.arange(8)
        favoured = index[:, None] + index[None] < self.pattern
        return check(torch.where(favoured, float(self.qs_of), float(self.qs_af)))


@dataclass(frozen=True, kw_only=True)
class Banded:
    """Two steps like `Defensive`, but any coefficients may be the finely quantised ones."""

    mask: int  # 64 bits in natural order, the highest is DC; 1: original-favoured (OF)
    qs_of: int  # step of the OF coefficients
    qs_af: int  # step of the AF coefficients

    def __post_init__(self) -> None:
        if not 0 <= self.mask < 2**64:
            raise InputError(
                f"a mask of coefficients has 64 bits, got {self.mask}.\n"
                "Hint: one bit per coefficient, row by row; the highest is DC."
            )

    @classmethod
    def of(cls, favoured: Tensor, *, qs_of: int, qs_af: int) -> "Banded":
        """From a boolean [8, 8] that marks the OF coefficients."""
        bits = "".join("01"[bool(bit)] for bit in favoured.flatten().tolist())
        return cls(mask=int(bits, 2), qs_of=qs_of, qs_af=qs_af)

    @cached_property
    def name(self) -> str:
        """How rows and files call it, two hex digits per row of the block; `by_name` reads it."""
        return f"m{self.mask:016x}-of{self.qs_of}-af{self.qs_af}"

    @cached_property
    def n_favoured(self) -> int:
        """How many coefficients are OF."""
        return self.mask.bit_count()

    @property
    def pattern(self) -> int | None:
        """The k whose diagonals hold as many coefficients; None where no k does."""
        return {n_in_diagonals(k): k for k in range(1, N_DIAGONALS + 1)}.get(self.n_favoured)

    def table(self) -> QTable:
        """The 8x8 steps; InputError for a step outside 1..255."""
        favoured = torch.tensor([bit == "1" for bit in f"{self.mask:064b}"]).reshape(8, 8)
        return check(torch.where(favoured, float(self.qs_of), float(self.qs_af)))


TwoStep = Defensive | Banded


def parse_two_step(name: str) -> TwoStep | None:
    """The table of one of these two families by that name, or None where it is of neither."""
    match = re.fullmatch(r"(k\d{1,2}|m[0-9a-f]{16})-of(\d{1,3})-af(\d{1,3})", name, re.ASCII)
    if match is None:
        return None
    band, qs_of, qs_af = match[1], int(match[2]), int(match[3])
    if band.startswith("k"):
        return Defensive(pattern=int(band[1:]), qs_of=qs_of, qs_af=qs_af)
    return Banded(mask=int(band[1:], 16), qs_of=qs_of, qs_af=qs_af)


def parse_defensive(name: str) -> Defensive:
    """The defensive table of that name; InputError for a name of another kind."""
    found = parse_two_step(name)
    if not isinstance(found, Defensive):
        raise InputError(
            f"the table must be of the searched family, got {name!r}.\n"
            "Hint: such as k3-of16-af116, the winner of jobs/qtable_search.py."
        )
    return found


def by_name(name: str) -> QTable | None:
    """The table called `name`; None for "none", which leaves the image alone.

    Names: none, ijgQ (IJG luminance table at quality Q), uniformS (step S everywhere), fd
    (`feature_distillation`), kK-ofS-afS (`Defensive`) and mMASK-ofS-afS (`Banded`); NAME@qQ is such
    a table, taken for quality 50, `scaled` to quality Q. InputError for any other.
    """
    if name == "none":
        return None
    if name == "fd":
        return feature_distillation()
    base, at, quality = name.partition("@q")
    if at and base != "none" and re.fullmatch(r"\d{1,3}", quality, re.ASCII):
        table = by_name(base)
        assert table is not None
        return scaled(table, quality_in(name, quality))
    if two_step := parse_two_step(name):
        return two_step.table()
    if match := re.fullmatch(r"ijg(\d{1,3})", name, re.ASCII):
        return ijg(quality_in(name, match[1]))
    if match := re.fullmatch(r"uniform(\d{1,3})", name, re.ASCII):
        return uniform(int(match[1]))
    raise InputError(
        f"no table is called {name!r}.\n"
        "Hint: names are none, ijg75, uniform16, k3-of16-af51 or k3-of16-af51@q70."
    )


def quality_in(name: str, digits: str) -> int:
    """The quality that a name has in these digits; InputError, with the name, outside 1..100."""
    if not 1 <= int(digits) <= 100:
        raise InputError(f"quality must lie in 1..100, got {name!r}.\nHint: such as jpeg75, ijg75.")
    return int(digits)


def to_text(table: QTable, *, comment: str = "") -> str:
    """The text form that `cjpeg -qtables` reads: 8 rows of 8 steps, natural order.

    Source: libjpeg, wizard.txt and rdswitch.c (read_quant_tables): white-space separated
    whole numbers, `#` starts a comment.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [" ".join(f"{int(step):3d}" for step in row) for row in check(table)]
    return "\n".join(lines) + "\n"


def from_text(text: str, *, source: str = "table") -> QTable:
    """The first table of a `cjpeg -qtables` file; InputError where there is none."""
    words = re.sub(r"#.*", "", text).split()
    hint = "Hint: the form is that of `cjpeg -qtables`: 64 steps, # starts a comment."
    bad = next((word for word in words if not re.fullmatch(r"[+-]?[0-9]{1,9}", word)), None)
    if bad is not None:
        found = repr(bad[:20])
        raise InputError(f"{source}: expected whole numbers, found {found}.\n{hint}")
    steps = [int(word) for word in words]
    if not steps or len(steps) % 64:
        found = f"{len(steps)} numbers"
        raise InputError(f"{source}: expected 64 steps a table, found {found}.\n{hint}")
    return check(torch.tensor(steps[:64], dtype=torch.float64).reshape(8, 8))


def load(path: str | Path) -> QTable:
    """Read the first table of a `cjpeg -qtables` file; InputError where it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the quantization table {path}: {error}.\n"
            "Hint: a search writes its winner to <store>/answers/SWEEP/winner.qtable.txt."
        ) from error
    return from_text(text, source=str(path))
