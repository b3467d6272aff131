"""Rows that two drivers measured twice count once, unless they disagree."""

import pandas as pd
import pytest

import results

ROWS = pd.DataFrame(
    {
        "subject": ["benign", "benign", "adversarial"], "image": [0, 1, 0],
        "table": ["none", "none", "none"], "predicted": [3, 4, 5], "cell_id": ["a", "a", "b"],
    }
)  # fmt: skip


def test_the_same_outcome_twice_counts_once():
    twice = pd.concat([ROWS, ROWS.assign(cell_id="c")])
    pd.testing.assert_frame_equal(results.once(twice), ROWS)


def test_outcomes_that_disagree_are_named():
    other = ROWS.assign(predicted=[3, 9, 5], cell_id="c")
    with pytest.raises(ValueError, match="image 1 under none was measured twice"):
        results.once(pd.concat([ROWS, other]))
