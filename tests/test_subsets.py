"""All subsets of an ensemble, against a plain loop that runs each of them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.defences import subsets
from core.errors import InputError


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def members_of(subset: int) -> list[int]:
    return [i for i, bit in enumerate(reversed(f"{subset:b}")) if bit == "1"]


def mean_class(outputs: np.ndarray, image: int) -> int:
    # Fractions: the mean of float32 numbers without any rounding; the lowest of tied classes.
    sums = [sum(Fraction(float(o)) for o in outputs[:, image, c]) for c in range(outputs.shape[2])]
    return sums.index(max(sums))


def vote_class(outputs: np.ndarray, image: int) -> int:
    said = [int(np.argmax(member[image])) for member in outputs]
    most = max(said.count(c) for c in said)
    tied = sorted(c for c in set(said) if said.count(c) == most)
    sums = [sum(Fraction(float(o)) for o in outputs[:, image, c]) for c in tied]
    return tied[sums.index(max(sums))]


def brute_force(outputs: np.ndarray, labels: np.ndarray, rule: str) -> list[int]:
    decide = {"mean": mean_class, "vote": vote_class}[rule]
    return [
        sum(
            decide(outputs[members_of(subset)], image) == label
            for image, label in enumerate(labels)
        )
        for subset in range(1, 2 ** len(outputs))
    ]


def outputs_of(n_members: int, n_images: int, n_classes: int, seed: int, scale: float = 2.0):
    chance = np.random.default_rng(seed)
    common = scale * chance.normal(size=(1, n_images, n_classes))
    outputs = softmax(common + chance.normal(size=(n_members, n_images, n_classes)))
    return outputs, chance.integers(n_classes, size=n_images)


@pytest.mark.parametrize("rule", subsets.RULES)
def test_all_255_subsets_are_those_of_a_plain_loop(rule):
    outputs, labels = outputs_of(8, 60, 10, seed=1)
    counts = subsets.n_right(outputs, labels, rule=rule)
    assert counts.tolist() == brute_force(outputs, labels, rule)
    assert subsets.right(outputs, labels, rule=rule).sum(axis=1).tolist() == counts.tolist()
    assert len(set(counts.tolist())) > 5  # subsets differ, so there is something to mix up


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(2, 4)),
    levels=st.integers(1, 3), seed=st.integers(0, 10**6), rule=st.sampled_from(subsets.RULES),
)  # fmt: skip
def test_ties_go_to_the_lowest_class_as_in_a_plain_loop(shape, levels, seed, rule):
    # Outputs in a few whole steps of 1/8: most sums tie, and float64 holds them exactly.
    chance = np.random.default_rng(seed)
    outputs = (chance.integers(levels + 1, size=shape) / 8).astype("f4")
    labels = chance.integers(shape[2], size=shape[1])
    assert subsets.n_right(outputs, labels, rule=rule).tolist() == brute_force(
        outputs, labels, rule
    )


def test_chunks_change_nothing(monkeypatch):
    outputs, labels = outputs_of(5, 300, 7, seed=2)
    whole = subsets.n_right(outputs, labels)
    monkeypatch.setattr(subsets, "_CHUNK", 1)
    np.testing.assert_array_equal(subsets.n_right(outputs, labels), whole)


@pytest.mark.parametrize("n_members", [0, 17])
def test_too_few_and_too_many_members_are_refused(n_members):
    with pytest.raises(InputError, match=r"1\.\.16 members"):
        subsets.masks(n_members)


@pytest.mark.parametrize("wrong", ["shape", "nan", "rule"])
def test_outputs_that_cannot_be_scored_are_refused(wrong):
    outputs, labels = outputs_of(2, 5, 3, seed=0)
    if wrong == "nan":
        outputs[1, 2, 0] = np.nan
    with pytest.raises(InputError, match=r"expected finite outputs|rule must be"):
        subsets.n_right(
            outputs[:, :4] if wrong == "shape" else outputs,
            labels,
            rule="median" if wrong == "rule" else "mean",
        )


@given(n_benign=st.integers(1, 3000), tenths=st.integers(1, 100))
def test_the_limit_in_whole_images_is_the_rule_in_fractions(n_benign, tenths):
    # 0.1 + 0.2 style traps: 91 - 90 - 1 points of 100 images is no feasible decline of 1 point.
    most = subsets.most_lost(n_benign, tenths / 10)
    limit = Fraction(tenths, 10)
    assert Fraction(100 * most, n_benign) < limit
    assert Fraction(100 * (most + 1), n_benign) >= limit


def scores_of(seed: int, n_members: int = 8) -> subsets.Scores:
    chance = np.random.default_rng(seed)
    size = 2**n_members - 1
    return subsets.Scores(
        n_members=subsets.masks(n_members).sum(axis=1),
        n_benign_right=chance.integers(90, 101, size=size),
        n_adversarial_right=chance.integers(40, 46, size=size),  # few values, so many ties
        n_benign=100,
        n_adversarial=60,
    )


@pytest.mark.parametrize("seed", range(8))
def test_the_best_subset_is_that_of_a_plain_search(seed):
    scores = scores_of(seed)
    found = subsets.best(scores, undefended=99, max_decline_points=4.0)
    entries = [
        (-scores.n_adversarial_right[i], scores.n_members[i], -scores.n_benign_right[i], i + 1)
        for i in range(255)
        if 99 - scores.n_benign_right[i] < 4
    ]
    assert found == min(entries)[3]
    over = subsets.n_over(scores, undefended=99, max_decline_points=4.0)
    assert ((over <= 0) == (99 - scores.n_benign_right < 4)).all()


def test_no_feasible_subset_is_none():
    scores = scores_of(0)
    assert subsets.best(scores, undefended=200, max_decline_points=1.0) is None


@pytest.mark.parametrize("n_members", [2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_what_no_other_subset_beats(seed, n_members):
    scores = scores_of(seed, n_members)
    columns = (scores.n_benign_right, scores.n_adversarial_right, scores.n_members)
    points = list(zip(columns[0], columns[1], -columns[2], strict=True))
    expected = [
        not any(q != p and all(a >= b for a, b in zip(q, p, strict=True)) for q in points)
        for p in points
    ]
    assert subsets.front(*columns).tolist() == expected
    assert n_members == 2 or 0 < sum(expected) < len(points)


def test_names_follow_the_bits():
    assert subsets.names(0b10000101, ("M", "a", "b", "c", "d", "e", "f", "g")) == ("M", "b", "g")
