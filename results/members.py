"""Accuracies of an ensemble's members, from the outcome of every image."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from results.stats import wilson

SUBJECTS = ("benign", "adversarial")
_KEY = ["weights", "table", "split", "subject", "image"]


def named(rows: pd.DataFrame, members: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `member_outputs` with the entries of `members`, joined on their weights and table.

    A network that several members share (M, of several chains) stands once for each.

    Raises:
        ValueError: an image measured twice with different predictions, or a member without rows.
    """
    text = dict.fromkeys(("weights", "table", "split", "subject"), str)
    once = rows.astype(text).drop_duplicates([*_KEY, "predicted"])
    if once.duplicated(_KEY).any():
        image = once[once.duplicated(_KEY)].iloc[0]
        raise ValueError(
            f"image {image['image']} was measured twice under {image['table'] or 'no table'}, with "
            "different predictions.\nHint: two machines compute differently; use one for a sweep."
        )
    joined = pd.DataFrame(list(members)).merge(
        once, on=["weights", "table"], how="left", validate="many_to_many"
    )
    absent = joined[joined["image"].isna()]
    if not absent.empty:
        raise ValueError(
            f"expected rows for every member, found none for {absent.iloc[0].to_dict()}.\n"
            "Hint: run the same command without --figure."
        )
    return joined


def accuracies(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A line per group and subject: n, n_right, acc, acc_low, acc_high (percent, 95 %, Wilson).

    Groups stand in the order of their first row.
    """
    right = rows.assign(right=(rows["predicted"] == rows["label"]).astype(int))
    grouped = right.groupby([*by, "subject"], sort=False, observed=True)["right"]
    lines = grouped.agg(n="size", n_right="sum").reset_index()
    low, high = wilson(lines["n_right"].to_numpy(), lines["n"].to_numpy())
    return lines.assign(
        acc=100 * lines["n_right"] / lines["n"], acc_low=100 * low, acc_high=100 * high
    )


def chain_text(lines: pd.DataFrame) -> str:
    """Accuracies of chains: a block for each sigma_255, a line for each member."""
    text: list[str] = []
    for sigma, chain in lines.groupby("sigma_255", sort=True):
        counts = chain.groupby("subject", sort=False)["n"].first()
        heads = "".join(f"{f'{subject} % (n {counts[subject]})':>26}" for subject in SUBJECTS)
        text += ["", f"noise sigma {sigma:g}/255", f"  {'member':<8}{heads}"]
        for member, pair in chain.groupby("member", sort=False):
            found = pair.set_index("subject")
            text.append(f"  {member:<8}" + "".join(f"{_interval(found, s):>26}" for s in SUBJECTS))
    return "\n".join(text[1:])


def matrix_text(lines: pd.DataFrame) -> str:
    """Accuracy of every member (lines) at every quality (columns), benign and adversarial."""
    text: list[str] = []
    for subject in SUBJECTS:
        part = lines[lines["subject"] == subject]
        text += ["", f"{subject}, % right of {part['n'].iloc[0]}"]
        text.append(f"  {'member':<8}" + "".join(f"{q:>8}" for q in part["quality"].unique()))
        for member, values in part.groupby("member", sort=False):
            text.append(f"  {member:<8}" + "".join(f"{acc:8.1f}" for acc in values["acc"]))
    return "\n".join(text[1:])


def _interval(found: pd.DataFrame, subject: str) -> str:
    line = found.loc[subject]
    return f"{line['acc']:5.1f} [{line['acc_low']:5.1f}, {line['acc_high']:5.1f}]"
