"""What the table search asks, in which order, and who leads so far."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.codec import frequency
from core.codec.qtable import Banded, Defensive, TwoStep, n_in_diagonals
from results import MeasuredBands, schema


def grid(
    patterns: Sequence[int], steps_af: Sequence[int], qs_of: int, *, space: str = "rgb"
) -> list[list[Defensive]]:
    """The searched tables, by pattern. InputError for steps outside 1..255 or k outside 1..15."""
    tables = [
        [Defensive(pattern=k, qs_of=qs_of, qs_af=q, space=space) for q in steps_af]
        for k in patterns
    ]
    for row in tables:
        for table in row:
            table.table()
    return tables


def measured_grid(
    ratio: frequency.Map, patterns: Sequence[int], steps_af: Sequence[int], qs_of: int
) -> list[list[Banded]]:
    """As `grid`, but pattern k favours the coefficients of smallest ratio, as many as k diagonals.

    So both searches have equally many tables, with equally many OF coefficients.
    """
    masks = [frequency.smallest(ratio, n_in_diagonals(k)) for k in patterns]
    return [[Banded.of(mask, qs_of=qs_of, qs_af=q) for q in steps_af] for mask in masks]


def measured_bands(ratio: frequency.Map, patterns: Sequence[int]) -> MeasuredBands:
    """What an answer says of the bands of `measured_grid`."""
    sizes = {k: n_in_diagonals(k) for k in patterns}
    masks = {k: frequency.smallest(ratio, size) for k, size in sizes.items()}
    shared = {k: frequency.n_in_first_diagonals(mask, k) for k, mask in masks.items()}
    return MeasuredBands(n_favoured=sizes, n_shared=shared)


@dataclass(frozen=True)
class Digest:
    """What a cell's rows say of its tables: one count per table."""

    subject: str
    first_image: int
    tables: tuple[str, ...]
    n_images: np.ndarray
    n_lost: np.ndarray  # right without the codec minus right with it
    n_right: np.ndarray


def digest(rows: Any) -> Digest:
    """Count the rows of one cell, an Arrow table."""
    label = schema.column(rows, "label")
    right = schema.column(rows, "predicted") == label
    before = schema.column(rows, "undefended") == label
    names, place = schema.codes(rows, "table")
    n_images, n_right, n_before = (
        np.bincount(place, weights, minlength=len(names)).astype(int)
        for weights in (None, right, before)
    )
    first_image = int(schema.column(rows, "image")[0])
    subject = schema.codes(rows, "subject")[0][0]
    return Digest(subject, first_image, tuple(names), n_images, n_before - n_right, n_right)


@dataclass
class Counts:
    """How one table fares: images measured, and those that count."""

    n_benign: int = 0
    n_lost: int = 0  # right without the codec minus right with it
    n_adversarial: int = 0
    n_defended: int = 0


@dataclass
class Tally:
    """Counts per table while rows come in; names the leader among completely measured tables."""

    tables: Sequence[TwoStep]
    n_benign: int
    n_adversarial: int
    max_decline_points: float
    counts: dict[str, Counts] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = {table.name: Counts() for table in self.tables}

    def add(self, cell: Digest, *, skip: Collection[str] = ()) -> None:
        """Count one cell, but not the tables to skip."""
        for i, name in enumerate(cell.tables):
            if name in skip:
                continue
            counts = self.counts[name]
            if cell.subject == "benign":
                counts.n_benign += int(cell.n_images[i])
                counts.n_lost += int(cell.n_lost[i])
            else:
                counts.n_adversarial += int(cell.n_images[i])
                counts.n_defended += int(cell.n_right[i])

    def recount(self, lines: Any) -> None:
        """Count anew from lines of `results.summary`, of tables that are measured completely."""
        for line in lines.itertuples():
            n_lost = line.n_benign_right_undefended - line.n_benign_right
            counted = Counts(line.n_benign, n_lost, line.n_adv, line.n_adv_right)
            self.counts[line.table] = counted

    def allows(self, n_lost: int) -> bool:
        """Whether losing so many benign images stays below the limit, in whole images."""
        return 100 * n_lost < self.max_decline_points * self.n_benign

    def leader(self) -> TwoStep | None:
        """The best completely measured feasible table, by the rules of Algorithm 1."""
        images = (self.n_benign, self.n_adversarial)
        rivals = []
        for table in self.tables:
            counts = self.counts[table.name]
            if (counts.n_benign, counts.n_adversarial) == images and self.allows(counts.n_lost):
                rivals.append(table)
        return max(rivals, key=self.rank, default=None)

    def rank(self, table: TwoStep) -> tuple[int, int, int, int]:
        """Larger is better: Def, then smaller Acc_dec, more OF coefficients, smaller QS_AF."""
        counts = self.counts[table.name]
        return (counts.n_defended, -counts.n_lost, table.n_favoured, -table.qs_af)

    def best(self) -> str:
        """The leader in a few words."""
        leader = self.leader()
        if leader is None:
            return ""
        counts = self.counts[leader.name]
        defended, lost = counts.n_defended / self.n_adversarial, counts.n_lost / self.n_benign
        return f"{leader.name} Def {100 * defended:.1f} % Acc_dec {100 * lost:.1f}"
