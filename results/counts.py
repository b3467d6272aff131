"""One way to count right answers, from the outcome of every image."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from results.stats import mcnemar, paired_decline, wilson

Rows = pd.DataFrame


def once(rows: Rows, key: Sequence[str]) -> Rows:
    """Each image once for every value of `key`; ValueError where two rows disagree."""
    names = [*key, "image"]
    distinct = rows.drop_duplicates([*names, "predicted"])  # two drivers may measure it twice
    again = distinct.duplicated(names)
    if again.any():
        image = distinct[again].iloc[0]
        under = ", ".join(str(image[name]) for name in key)
        raise ValueError(
            f"image {image['image']} under {under} was measured twice, with different "
            "predictions.\nHint: two machines compute differently; use one kind for a sweep."
        )
    return distinct


def accuracies(rows: Rows, by: Sequence[str]) -> Rows:
    """A line per group, in order of its first row: n, n_right, and in percent accuracy, low, high.

    The limits are Wilson's, 95 %. ValueError as `once`.
    """
    seen = once(rows, by)
    right = seen.assign(right=seen["predicted"] == seen["label"])
    groups = right.groupby(list(by), sort=False, observed=True)["right"]
    lines = groups.agg(n="size", n_right="sum").reset_index()
    lines = lines.astype({name: str for name in by if lines[name].dtype == "category"})
    hits, trials = (lines[name].to_numpy(dtype=np.int64) for name in ("n_right", "n"))
    low, high = wilson(hits, trials)
    return lines.assign(accuracy=100 * hits / trials, low=100 * low, high=100 * high)


def gains(rows: Rows, first: str, second: str, by: Sequence[str], *, of: str = "defence") -> Rows:
    """What `second` gains over `first` on the same images: n, in points gain, low, high, and p.

    A line per group of `by`; the limits are Tango's, 95 %, p is McNemar's, exact. ValueError as
    `once`, or where the two were not measured on the same images.
    """
    seen = once(rows, [*by, of])
    seen = seen.assign(right=seen["predicted"] == seen["label"])
    key = [*by, "image"]
    before, after = (seen[seen[of] == name].set_index(key)["right"] for name in (first, second))
    if before.empty or len(before) != len(after) or not before.index.isin(after.index).all():
        raise ValueError(
            f"expected {first} and {second} on the same images, found {len(before)} and "
            f"{len(after)}.\nHint: run the study again; it computes what is missing."
        )
    after = after.reindex(before.index)
    pairs = pd.DataFrame({"n": 1, "won": ~before & after, "lost": before & ~after})
    lines = pairs.groupby(list(by), sort=False, observed=True).sum()
    n, won, lost = (lines.pop(name).to_numpy(dtype=np.int64) for name in ("n", "won", "lost"))
    low, high = paired_decline(won, lost, n)
    lines = lines.assign(n=n, gain=100 * (won - lost) / n, low=low, high=high)
    return lines.assign(p=list(map(mcnemar, won.tolist(), lost.tolist()))).reset_index()
