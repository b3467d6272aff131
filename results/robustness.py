"""Robust accuracy under PGD with restarts, beside what the training took."""

import numpy as np
import pandas as pd

from results.stats import wilson

_BY = ["eps_255", "defence", "threat"]


def robust_lines(rows: pd.DataFrame) -> pd.DataFrame:
    """A line per eps, defence and threat: accuracy as it is, after one restart, after all.

    An image counts as right after r restarts if none of the first r broke it. Columns standard,
    one and all, each with _low and _high (percent, 95 %, Wilson), beside n and n_restarts.

    Raises:
        ValueError: an image measured twice with different outcomes.
    """
    text = dict.fromkeys(("defence", "threat"), str)
    once = rows.astype(text).drop_duplicates([*_BY, "image", "predicted", "broken_by"])
    if once.duplicated([*_BY, "image"]).any():
        raise ValueError(
            "expected one outcome for each image, found two for one of them.\n"
            "Hint: two machines compute differently; use one kind for a sweep."
        )
    right = once["predicted"] == once["label"]
    broken_by = once["broken_by"].fillna(np.iinfo(np.int32).max)
    counted = once.assign(standard=right, one=right & (broken_by > 1))
    counted["all"] = right & once["broken_by"].isna()
    grouped = counted.groupby(_BY, observed=True)
    lines = grouped.agg(
        n=("image", "size"), n_restarts=("n_restarts", "first"),
        standard=("standard", "sum"), one=("one", "sum"), all=("all", "sum"),
    ).reset_index()  # fmt: skip
    for name in ("standard", "one", "all"):
        hits, trials = (lines[c].to_numpy().astype(np.int64) for c in (name, "n"))
        low, high = wilson(hits, trials)
        lines[name], lines[f"{name}_low"] = 100 * hits / trials, 100 * low
        lines[f"{name}_high"] = 100 * high
    return lines


def training_wall_s(rows: pd.DataFrame, by: list[str]) -> dict[tuple[object, ...], float]:
    """Seconds of all epochs, by the values of some columns; an epoch stored twice counts once."""
    epochs = ["epoch", *(name for name in ("member",) if name in rows)]
    once = rows.drop_duplicates([*by, *epochs])
    walls = once.groupby(by, observed=True)["epoch_wall_s"].sum()
    return {key if isinstance(key, tuple) else (key,): float(s) for key, s in walls.items()}


def robust_text(lines: pd.DataFrame, train_wall_s: dict[tuple[object, ...], float]) -> str:
    """Table 1: accuracies with intervals, training time in minutes and as a ratio to ours.

    `train_wall_s` is by defence and eps.
    """
    n, most = lines["n"].iloc[0], lines["n_restarts"].iloc[0]
    heads = ("standard %", "PGD, 1 restart %", f"PGD, {most} restarts %")
    head = f"  {'method':<15}{'eps':>4}" + "".join(f"{name:>23}" for name in heads)
    text = [f"n {n}", head + f"{'minutes':>9}{'x ours':>8}"]
    for _, line in lines.iterrows():
        wall_s = train_wall_s[line["defence"], line["eps_255"]]
        ratio = wall_s / train_wall_s["ours", line["eps_255"]]
        name = f"{line['defence']} ({line['threat']})"
        cells = "".join(f"{_interval(line, c):>23}" for c in ("standard", "one", "all"))
        text.append(f"  {name:<15}{line['eps_255']:4g}{cells}{wall_s / 60:9.2f}{ratio:8.2f}")
    return "\n".join(text)


def _interval(line: pd.Series, name: str) -> str:
    return f"{line[name]:5.1f} [{line[f'{name}_low']:5.1f}, {line[f'{name}_high']:5.1f}]"
