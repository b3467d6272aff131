"""Counting right answers, and printing them: against plain loops and the intervals' own module."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import (
    accuracies,
    compared,
    gained,
    gains,
    group_note,
    grouped,
    interval,
    once,
    text_table,
    whole,
)
from results.stats import cluster_bootstrap, paired_decline, sign_flip, wilson
from results.words import fitted

outcomes = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 2)), min_size=1
)


def rows_of(found: list[tuple[str, int, int]]) -> pd.DataFrame:
    """Each image once: defence, image, predicted; the label of an image is its id modulo 3."""
    known = {(d, i): p for d, i, p in found}
    lines = [{"defence": d, "image": i, "label": i % 3, "predicted": p}
             for (d, i), p in known.items()]  # fmt: skip
    return pd.DataFrame(lines).astype({"defence": "category"})


@given(outcomes)
def test_accuracies_are_counts_with_wilsons_limits(found):
    rows = rows_of(found)
    lines = accuracies(pd.concat([rows, rows]), ["defence"])  # measured twice, alike
    assert lines["defence"].tolist() == list(dict.fromkeys(rows["defence"]))
    for line in lines.itertuples():
        own = [r for r in rows.itertuples() if r.defence == line.defence]
        n_right = sum(r.predicted == r.label for r in own)
        low, high = wilson(n_right, len(own))
        assert (line.n, line.n_right) == (len(own), n_right)
        expected = (100 * n_right / len(own), 100 * float(low), 100 * float(high))
        assert (line.accuracy, line.low, line.high) == pytest.approx(expected)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_gains_are_paired_by_image_with_tangos_limits(pairs):
    rows = pd.DataFrame(
        {"defence": d, "under": "x", "image": i, "label": 1, "predicted": int(pair[k])}
        for i, pair in enumerate(pairs)
        for k, d in enumerate("ab")
    )
    (line,) = gains(rows.sample(frac=1, random_state=0), "a", "b", ["under"]).to_dict("records")
    won = sum(after and not before for before, after in pairs)
    lost = sum(before and not after for before, after in pairs)
    low, high = paired_decline(won, lost, len(pairs))
    assert line["n"] == len(pairs)
    assert line["gain"] == pytest.approx(100 * (won - lost) / len(pairs))
    assert (line["low"], line["high"]) == pytest.approx((float(low), float(high)))


def test_gains_on_other_images_are_refused():
    rows = rows_of([("a", 0, 0), ("a", 1, 0), ("b", 0, 0)]).assign(under="x")
    with pytest.raises(ValueError, match="a and b on the same images, found 2 and 1"):
        gains(rows, "a", "b", ["under"])


def test_the_same_outcome_twice_counts_once_and_others_are_named():
    rows = rows_of([("a", 0, 1), ("a", 1, 1), ("b", 0, 2)])
    twice = pd.concat([rows, rows.assign(cell_id="c")])
    assert once(twice, ["defence"])[list(rows)].equals(rows)
    other = rows.assign(predicted=[1, 0, 2])
    with pytest.raises(ValueError, match="image 1 under a was measured twice"):
        once(pd.concat([rows, other]), ["defence"])


def test_numbers_are_printed_with_their_limits():
    line = {"accuracy": 44.54, "gain": 3.2, "low": -0.04, "high": 51.25}
    assert interval(line) == " 44.5 [  0.0,  51.2]"  # no minus zero
    assert interval(line | {"accuracy": np.nan}) == "-"
    assert whole(line) == "45 [-0, 51]"
    assert gained(line | {"p": 0.0625}) == "+3 [-0, +51] p 0.062"
    assert gained(line | {"p": 1e-300}) == "+3 [-0, +51] p 1e-300"
    assert gained(line | {"p": 0.0}) == "+3 [-0, +51] p < 1e-300"
    assert gained(line | {"p": 0.5, "group_p": 5e-324}) == "+3 [-0, +51] p < 1e-300"


def test_a_table_keeps_the_order_of_its_lines_and_leaves_gaps_blank():
    lines = pd.DataFrame(
        {"who": ["z", "z", "a"], "what": ["q", "b", "b"], "accuracy": [1.0, 2.0, 3.0]}
    )
    text = text_table(lines, "who", "what", cell=lambda line: f"{line['accuracy']:.0f}")
    assert [line.split() for line in text.splitlines()] == [
        ["who", "q", "b"], ["z", "1", "2"], ["a", "3"],
    ]  # fmt: skip
    assert len({len(line) for line in text.splitlines()}) == 1
    budgets = lines.assign(what=[8.0, 0.5, 0.5])
    text = text_table(budgets, "who", "what", cell=lambda _: "x")
    assert text.split()[:3] == ["who", "8", "0.5"]


def test_columns_without_room_follow_below():
    heads = ["first", "second", "third"]
    lines = pd.DataFrame({"who": ["z"] * 3 + ["a"] * 3, "what": heads * 2, "n": range(6)})
    said = text_table(lines, "who", "what", cell=lambda line: f"{line['n']:>36}").splitlines()
    assert [line.split() for line in said] == [
        ["who", "first", "second"], ["z", "0", "1"], ["a", "3", "4"],
        ["who", "third"], ["z", "2"], ["a", "5"],
    ]  # fmt: skip
    assert len(said[0]) == 79


def test_a_long_line_goes_on_where_its_words_began():
    words = " ".join(["word"] * 20)
    head, *rest = fitted(f"  name       {words}").splitlines()
    assert head.startswith("  name       word word")
    assert {len(line) - len(line.lstrip()) for line in rest} == {13}
    assert {len(line) - len(line.lstrip()) for line in fitted(words).splitlines()[1:]} == {2}
    assert max(map(len, [head, *rest])) <= 80
    assert f"{head} {' '.join(map(str.strip, rest))}" == f"  name       {words}"
    assert fitted("short  enough\n") == "short  enough\n"
    cut = fitted(f"{'x' * 70} 44.5 [ 38.1,  51.2] % of all")
    assert "[ 38.1,  51.2]" in cut
    assert len(cut.splitlines()) == 2


def test_two_lines_for_one_place_and_defences_never_measured_are_refused():
    lines = pd.DataFrame({"who": ["z", "z"], "what": ["q", "q"], "accuracy": [1.0, 2.0]})
    with pytest.raises(ValueError, match="found two for"):
        text_table(lines, "who", "what", cell=str)
    with pytest.raises(ValueError, match="found 0 and 0"):
        gains(rows_of([("a", 0, 0)]).assign(under="x"), "c", "d", ["under"])


def test_groups_go_with_accuracies_and_gains():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"defence": d, "under": "x", "split": "report", "image": i, "label": 1, "predicted": int(p)}
        for d, share in (("a", 0.4), ("b", 0.6))
        for i, p in enumerate(rng.random(60) < share)
    )
    found = grouped(rows, lambda split, image: f"{split}/{image % 12}")
    assert found["group"].nunique() == 12
    plain, lines = accuracies(rows, ["defence"]), accuracies(found, ["defence"])
    pd.testing.assert_frame_equal(lines[plain.columns], plain)
    right = (
        found["predicted"].eq(1).groupby([found["defence"], found["group"]], observed=True).sum()
    )
    for line in lines.itertuples():
        hits = right[line.defence].to_numpy()[:, None]
        low, high = cluster_bootstrap(hits, np.full(12, 5))
        assert (line.n_groups, line.group_low, line.group_high) == pytest.approx(
            (12, 100 * low[0], 100 * high[0]),
            abs=2.0,  # the order of groups decides the draws
        )
    won = compared(found, [("a", "b"), ("b", "a")], ["under"])
    d = (right["b"] - right["a"]).to_numpy()
    assert won["group_p"].tolist() == pytest.approx([min(1, 2 * sign_flip(d))] * 2)
    assert whole(lines.iloc[0]).count("{") == gained(won.iloc[0]).count("{") == 1
    assert "12 groups" in group_note(lines)
    assert "groups are few" in group_note(lines)
    assert "independent" in group_note(plain)
