"""One way to count right answers, from the outcome of every image.

Where rows have a column `repeat`, each image was measured so often (draws of a randomised defence,
networks trained anew; `n_repeats`) and counts once, with its mean.

Where rows have a column `group`, whole groups are resampled beside what takes images for
independent: limits `group_low` and `group_high`, `n_groups`, and `group_p` beside p.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.stats import (
    cluster_bootstrap,
    design_effect,
    holm,
    mcnemar,
    paired_decline,
    sign_flip,
    wilson,
)
from results.words import extent

Rows = pd.DataFrame
Counts = NDArray[np.int64]
FEW_GROUPS = 30  # Cameron, Gelbach and Miller, Rev. of Economics and Statistics 90 (2008) 414-427


def once(rows: Rows, key: Sequence[str]) -> Rows:
    """Each image once for every value of `key`; ValueError where two rows disagree."""
    names = [*key, "image", *_repeat(rows)]
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


def _repeat(rows: Rows) -> list[str]:
    return ["repeat"] if "repeat" in rows else []


def grouped(rows: Rows, group: Callable[[str, int], str]) -> Rows:
    """Rows with a column `group`: of each split and image, what `group` says."""
    images = rows[["split", "image"]].drop_duplicates()
    names = [group(str(s), int(i)) for s, i in zip(images["split"], images["image"], strict=True)]
    return rows.merge(images.assign(group=pd.Categorical(names)), how="left")


def accuracies(rows: Rows, by: Sequence[str]) -> Rows:
    """A line per group, in order of its first row: n, n_right, and in percent accuracy, low, high.

    The limits are Wilson's, 95 %; of repeated measurements those of one. With groups also their
    number, limits and design effect (`deff`). ValueError as `once`.
    """
    seen = once(rows, by)
    right = seen.assign(right=seen["predicted"] == seen["label"])
    lines = shares(right, "right", by).rename(columns={"right": "accuracy"})
    if "group" not in rows:
        return lines
    counts = right.groupby([*by, "group"], sort=False, observed=True)["right"].agg(["sum", "size"])
    parts = [
        (own["sum"].to_numpy(dtype=np.int64), own["size"].to_numpy(dtype=np.int64))
        for _, own in counts.groupby(list(by), sort=False, observed=True)
    ]
    deff = [design_effect(n_right, n) for n_right, n in parts]
    times = [n.sum() / images for (_, n), images in zip(parts, lines["n"], strict=True)]
    return lines.assign(**_by_group(parts), deff=np.array(deff) / times)


def together(runs: Sequence[Rows]) -> Rows:
    """Rows of several runs, each with networks of its own, told apart by `run` and `repeat`."""
    if len(runs) == 1:
        return runs[0]
    return pd.concat([own.assign(run=run, repeat=run) for run, own in enumerate(runs)])


def spread(lines: Rows, rows: Rows, by: Sequence[str]) -> Rows:
    """Lines of `accuracies` with the least, the most and the deviation of one run and of one draw.

    As `run_least`, `run_most`, `run_sd`, `draw_least`, ..; where rows have several.
    """
    right = rows.assign(right=100 * (rows["predicted"] == rows["label"]))
    for over in ("run", "draw"):
        if over in rows and rows[over].max() > 0:
            each = right.groupby([*by, over], observed=True)["right"].mean()
            wide = each.groupby(list(by), observed=True).agg(["min", "max", "std"])
            named = {"min": f"{over}_least", "max": f"{over}_most", "std": f"{over}_sd"}
            lines = lines.merge(wide.rename(columns=named).reset_index(), on=list(by), how="left")
    return lines


def shares(rows: Rows, event: str, by: Sequence[str]) -> Rows:
    """How often a column of truth values is true: n, n_EVENT, and in percent EVENT, low, high.

    A line per group, in order of its first row. The limits are Wilson's, 95 %.
    """
    groups = rows.groupby(list(by), sort=False, observed=True)
    n_images = groups["image"].nunique().to_numpy() if _repeat(rows) else groups.size().to_numpy()
    lines = groups[event].agg(["size", "sum"]).reset_index()
    lines = lines.rename(columns={"size": "n", "sum": f"n_{event}"})
    lines = lines.astype({name: str for name in by if lines[name].dtype == "category"})
    hits, trials = (lines[name].to_numpy(dtype=np.int64) for name in (f"n_{event}", "n"))
    times = trials // n_images
    low, high = wilson(hits, trials, times=times)
    if _repeat(rows):
        lines = lines.assign(**{"n": n_images, f"n_{event}": hits / times, "n_repeats": times})
    return lines.assign(**{event: 100 * hits / trials}, low=100 * low, high=100 * high)


def _by_group(parts: Sequence[tuple[Counts, Counts]]) -> dict[str, list[float]]:
    """Number of groups and their limits, of a line each: hits and trials of every group."""
    limits = [cluster_bootstrap(hits[:, None], trials) for hits, trials in parts]
    return {
        "n_groups": [len(trials) for _, trials in parts],
        "group_low": [100 * float(low[0]) for low, _ in limits],
        "group_high": [100 * float(high[0]) for _, high in limits],
    }


def gains(rows: Rows, first: str, second: str, by: Sequence[str], *, of: str = "defence") -> Rows:
    """What `second` gains over `first` on the same images: n, in points gain, low, high, and p.

    A line for each value of `by`; the limits are Tango's, 95 %, p is McNemar's, exact; with groups
    also theirs, `group_p` by exchange of whole groups. Of repeated measurements, paired one by one,
    the limits are those of one, and p is by exchange of images. ValueError as `once`, or where the
    two were not measured on the same images.
    """
    seen = once(rows, [*by, of])
    seen = seen.assign(right=seen["predicted"] == seen["label"])
    key = [*by, "image", *_repeat(rows)]
    both = seen[seen[of].isin((first, second))].set_index(key)
    before, after = (both.loc[both[of] == name, "right"] for name in (first, second))
    if before.empty or len(before) != len(after) or not before.index.isin(after.index).all():
        raise ValueError(
            f"expected {first} and {second} on the same images, found {len(before)} and "
            f"{len(after)}.\nHint: run the study again; it computes what is missing."
        )
    after = after.reindex(before.index)
    pairs = pd.DataFrame({"n": 1, "won": ~before & after, "lost": before & ~after})
    lines, grouped = pairs.groupby(list(by), sort=False, observed=True).sum(), {}
    if "group" in rows:
        pairs["group"] = both.loc[both[of] == first, "group"]
        counts = pairs.groupby([*by, "group"], sort=False, observed=True).sum()
        counts = counts.assign(d=counts["won"] - counts["lost"])
        parts = [
            (own["d"].to_numpy(dtype=np.int64), own["n"].to_numpy(dtype=np.int64))
            for _, own in counts.groupby(list(by), sort=False, observed=True)
        ]
        grouped = _by_group(parts) | {"group_p": [sign_flip(hits) for hits, _ in parts]}
    n, won, lost = (lines.pop(name).to_numpy(dtype=np.int64) for name in ("n", "won", "lost"))
    times, p = np.ones_like(n), list(map(mcnemar, won.tolist(), lost.tolist()))
    if _repeat(rows):
        images = pairs.groupby([*by, "image"], sort=False, observed=True)[["won", "lost"]].sum()
        own = (images["won"] - images["lost"]).groupby(list(by), sort=False, observed=True)
        times, p = n // own.size().to_numpy(), [sign_flip(d.to_numpy()) for _, d in own]
        lines = lines.assign(n_repeats=times)
    low, high = paired_decline(won, lost, n, times=times)
    lines = lines.assign(n=n // times, gain=100 * (won - lost) / n, low=low, high=high)
    return lines.assign(p=p, **grouped).reset_index()


def compared(
    rows: Rows, pairs: Sequence[tuple[str, str]], by: Sequence[str], *, of: str = "defence"
) -> Rows:
    """`gains` of each pair (`first`, `second`), p corrected for as many lines as there are (Holm).

    So the best of them may be picked and its p be read.
    """
    lines = [gains(rows, *pair, by, of=of).assign(first=pair[0], second=pair[1]) for pair in pairs]
    found = pd.concat(lines, ignore_index=True)
    names = [name for name in ("p", "group_p") if name in found]
    return found.assign(**{name: holm(found[name]) for name in names})


def test_of(lines: Rows) -> str:
    """How the p of lines of `compared` were found."""
    test = "exchange of images" if "n_repeats" in lines else "McNemar, exact"
    test = "exchange of groups" if "group_p" in lines else test
    return f"{test}, Holm's of {len(lines)}"


def group_note(lines: Rows) -> str:
    """What the braces beside intervals mean, or that groups are not known."""
    if "group_low" not in lines:
        return "no groups of images known: each counts as independent of all others"
    least, most = (int(n) for n in (lines["n_groups"].min(), lines["n_groups"].max()))
    said = f"{{ }}: 95 %, {extent((least, most))} groups of images resampled, not images"
    if "deff" in lines and lines["deff"].notna().any():
        said += f"; design effect {lines['deff'].median():.1f} (median of {len(lines)} lines)"
    if lines["group_low"].isna().any():
        said += "; {-}: all groups alike, which is no certainty"
    return f"{said}; groups are few, so {{ }} is uncertain" if least < FEW_GROUPS else said
