"""Every subset of an ensemble's members, scored from their softmax outputs.

A member's outputs on an image are the same in every subset that holds it, so the networks run
once and each of the 2^m - 1 subsets is a sum of what they said.

A subset is a number whose bit i says whether member i is in it: 1 is the first member alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

RULES = ("mean", "vote")
MAX_MEMBERS = 16

Outputs = NDArray[np.float32]  # softmax outputs [members, images, classes]
Counts = NDArray[np.int64]
Bools = NDArray[np.bool_]

_CHUNK = 2_000_000  # sums in memory at a time (16 MB): more falls out of the caches


@dataclass(frozen=True)
class Scores:
    """How many images each subset gets right; position i is subset i + 1."""

    n_members: Counts
    n_benign_right: Counts
    n_adversarial_right: Counts
    n_benign: int
    n_adversarial: int


def masks(n_members: int) -> Bools:
    """Which members are in each subset: [2^m - 1, m]. InputError outside 1..16 members."""
    if not 1 <= n_members <= MAX_MEMBERS:
        raise InputError(
            f"expected 1..{MAX_MEMBERS} members, got {n_members}.\n"
            "Hint: their subsets double with each; drop the members that are never used."
        )
    numbers = np.arange(1, 2**n_members)
    used: Bools = (numbers[:, None] >> np.arange(n_members)) & 1 == 1
    return used


def right(outputs: Outputs, labels: Counts, *, rule: str = "mean") -> Bools:
    """Which images each subset gets right: [2^m - 1, n]. Inputs and rules as for `n_right`."""
    _check(outputs, labels, rule)
    return np.concatenate(list(_parts(outputs, labels, rule, np.arange(len(labels)))), axis=1)


def n_right(outputs: Outputs, labels: Counts, *, rule: str = "mean") -> Counts:
    """How many images each subset gets right: [2^m - 1].

    `mean`: the class with the largest mean output. `vote`: the class that most members name; among
    tied ones that with the largest mean. Where that is still a tie, the lowest class. Sums are in
    float64, where those of 16 float32 outputs above 2^-25 are exact (2^-20 for `vote`): no order of
    adding gives another answer.
    """
    _check(outputs, labels, rule)
    said, largest = outputs.argmax(axis=2), outputs.max(axis=2, keepdims=True)
    untied = ((outputs == largest).sum(axis=2) == 1).all(axis=0)
    # Where all members agree, and none by a tie, so does every subset.
    agreed = (said == said[0]).all(axis=0) & untied
    n_subsets = 2 ** len(outputs) - 1
    total = np.full(n_subsets, int((said[0] == labels)[agreed].sum()), dtype=np.int64)
    for part in _parts(outputs, labels, rule, np.flatnonzero(~agreed)):
        total += part.sum(axis=1)
    return total


def _check(outputs: Outputs, labels: Counts, rule: str) -> None:
    if rule not in RULES:
        raise InputError(f"the rule must be one of {', '.join(RULES)}, got {rule!r}.\nHint: mean.")
    if outputs.ndim != 3 or outputs.shape[1] != len(labels) or not np.isfinite(outputs).all():
        raise InputError(
            f"expected finite outputs [members, {len(labels)} images, classes], got "
            f"{list(outputs.shape)}.\nHint: one softmax output per member and label."
        )


def _parts(outputs: Outputs, labels: Counts, rule: str, images: Counts) -> Iterator[Bools]:
    """Which of some images each subset gets right, a few images at a time: [2^m - 1, few]."""
    members = masks(len(outputs)).astype(np.float64)
    per_chunk = max(1, _CHUNK // (len(members) * outputs.shape[2]))
    for first in range(0, len(images), per_chunk):
        chosen = images[first : first + per_chunk]
        yield _right(outputs[:, chosen], labels[chosen], members, rule)


def _right(outputs: Outputs, labels: Counts, members: NDArray[np.float64], rule: str) -> Bools:
    n_images, n_classes = outputs.shape[1:]
    weights = outputs.astype(np.float64)
    if rule == "vote":
        # A sum is at most 16, so it decides between equal votes only.
        weights += 2 * MAX_MEMBERS * (outputs.argmax(axis=2)[..., None] == np.arange(n_classes))
    by_class = weights.transpose(0, 2, 1)  # whole rows of images, fast to scan
    sums = (members @ by_class.reshape(len(outputs), -1)).reshape(-1, n_classes, n_images)
    found: Bools = sums[:, labels, np.arange(n_images)] == sums.max(axis=1)
    # The lowest of tied classes is the answer: look where the label is among the largest.
    subset, image = np.nonzero(found)
    found[subset, image] = sums[subset, :, image].argmax(axis=1) == labels[image]
    return found


def score(
    benign: Outputs,
    benign_labels: Counts,
    adversarial: Outputs,
    adversarial_labels: Counts,
    *,
    rule: str = "mean",
) -> Scores:
    """Every subset on benign and adversarial images; outputs as for `n_right`."""
    return Scores(
        n_members=masks(len(benign)).sum(axis=1),
        n_benign_right=n_right(benign, benign_labels, rule=rule),
        n_adversarial_right=n_right(adversarial, adversarial_labels, rule=rule),
        n_benign=len(benign_labels),
        n_adversarial=len(adversarial_labels),
    )


def most_lost(n_benign: int, max_decline_points: float) -> int:
    """The most benign images that a decline below the limit loses; whole numbers throughout."""
    limit = Fraction(str(max_decline_points))  # the decimal as written: 0.1 is a tenth
    # The largest n with 100 * n / n_benign < limit.
    return -(-limit.numerator * n_benign // (100 * limit.denominator)) - 1


def n_over(scores: Scores, *, undefended: int, max_decline_points: float) -> Counts:
    """Benign images that each subset loses beyond the limit: at most 0 where it is feasible.

    `undefended` is how many of the same images the undefended network gets right.
    """
    lost: Counts = undefended - scores.n_benign_right
    return lost - most_lost(scores.n_benign, max_decline_points)


def best(scores: Scores, *, undefended: int, max_decline_points: float) -> int | None:
    """The feasible subset with most adversarial images right; None where none is feasible.

    Ties: fewer members, then more benign images right, then the lower number.
    """
    over = n_over(scores, undefended=undefended, max_decline_points=max_decline_points)
    feasible = np.flatnonzero(over <= 0)
    if not len(feasible):
        return None
    keys = (-scores.n_benign_right, scores.n_members, -scores.n_adversarial_right)  # last is first
    order = np.lexsort([feasible, *(key[feasible] for key in keys)])
    return int(feasible[order[0]]) + 1


def front(n_benign_right: Counts, n_adversarial_right: Counts, n_members: Counts) -> Bools:
    """Which entries no other beats: more right on either, or fewer members, and none worse.

    Equal entries beat each other not: all of them stay.
    """
    triples = np.stack([-n_benign_right, -n_adversarial_right, n_members], axis=1)
    distinct, place = np.unique(triples, axis=0, return_inverse=True)
    kept = np.zeros(len(distinct), dtype=np.bool_)
    most: dict[int, int] = {}  # adversarial images right, by members, so far
    # In this order what beats an entry comes before it, and has no fewer benign images right.
    for i, (_, wrong, size) in enumerate(distinct.tolist()):
        kept[i] = all(n > size or right_so_far < -wrong for n, right_so_far in most.items())
        most[size] = max(most.get(size, 0), -wrong)
    return kept[place.reshape(-1)]


def names(subset: int, members: Sequence[str]) -> tuple[str, ...]:
    """The names of a subset's members."""
    return tuple(name for i, name in enumerate(members) if subset >> i & 1)
