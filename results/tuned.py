"""Tuned ensembles: which subset of which chain wins, and is it true on images not seen?

A row of `ensemble_tune` is one subset of one chain's members, in counts. A row of
`ensemble_report` is one held-out image under one ensemble.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.stats import share_difference, wilson
from results.tables import surface
from results.tables.surface import Bools, feasible, gained_text, grouped_text, report_text, summary
from results.words import interval

PAPER = "M+M90+M70+M50+M30"

# Feasible ones first, of the others the least decline; across trials the earlier one among equals.
_ASCENDING = {
    "feasible": False, "lost": True, "n_adversarial_right": False, "n_members": True,
    "n_benign_right": False, "subset": True, "trial": True,
}  # fmt: skip
_ENSEMBLES = {"none": "M alone", "single": "best single", "paper": "paper's five", "tuned": "tuned"}

_PAIRS = {
    ("none", "tuned"): "tuned over M",
    ("none", "paper"): "paper's over M",
    ("single", "tuned"): "tuned over single",
}


@dataclass(frozen=True)
class Optimism:
    """What choosing the best costs: bootstrap over the images that chose it."""

    points: float  # mean of (Def on the resample that chose - Def on all images), of its winners
    share_broken: float  # of resampled winners that break the decline rule on all images
    n_resamples: int


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a study's rows say. Every line is a row of `ensemble_tune`, with its trial."""

    trials: pd.DataFrame  # each chain's best feasible subset, in the order of finishing
    winner: "pd.Series[float]"
    single: "pd.Series[float]"  # the best single member
    paper: "pd.Series[float]"  # the paper's five, on the chain that suits them best
    front: pd.DataFrame  # what no subset of any chain beats in benign, defended and members
    by_size: pd.DataFrame  # sigma_255, n_members, defended: best feasible Def (%) of each


def tuned(rows: pd.DataFrame, on_front: Bools, *, max_decline_points: float) -> Tuned:
    """Read a study's rows; `on_front` marks those that no other row beats.

    ValueError for no rows, or chains scored on different images.
    """
    n_images = rows[["n_benign", "n_adversarial", "n_benign_right_undefended"]].drop_duplicates()
    if len(n_images) != 1:
        raise ValueError(
            f"expected rows of one study on the same images, found {len(n_images)} kinds.\n"
            "Hint: load one sweep of ensemble_tune at a time."
        )
    lines = rows.assign(feasible=feasible(rows, max_decline_points=max_decline_points))
    chains = lines.groupby("cell_id", observed=True)["finished_at"].first().sort_values().index
    lines["trial"] = chains.get_indexer(pd.Index(lines["cell_id"]))
    lost = lines["n_benign_right_undefended"] - lines["n_benign_right"]
    order = lines.assign(lost=lost.where(~lines["feasible"], 0)).sort_values(
        list(_ASCENDING), ascending=list(_ASCENDING.values()), kind="stable"
    )
    lines = lines.loc[order.index]
    keys = ["n_members", "n_adversarial_right", "n_benign_right"]
    front = lines[on_front[lines.index]].drop_duplicates(keys)
    return Tuned(
        trials=lines.drop_duplicates("trial").sort_values("trial", ignore_index=True),
        winner=lines.iloc[0],
        single=lines[lines["n_members"] == 1].iloc[0],
        paper=lines[lines["members"] == PAPER].iloc[0],
        front=front.sort_values(keys, ascending=[True, False, False], ignore_index=True),
        by_size=_by_size(lines[lines["feasible"]]),
    )


def _by_size(lines: pd.DataFrame) -> pd.DataFrame:
    counts = ["n_adversarial_right", "n_adversarial"]
    best = lines.groupby(["sigma_255", "n_members"])[counts].max().reset_index()
    return best.assign(defended=100 * best[counts[0]].astype(float) / best[counts[1]].astype(float))


def optimism(
    benign: Bools,
    adversarial: Bools,
    undefended: Bools,
    n_members: NDArray[np.int64],
    *,
    most_lost: int,
    n_resamples: int = 200,
    seed: int = 0,
) -> Optimism:
    """How much too good the best of many candidates looks, by choosing again on resamples.

    An estimate from below: a resample repeats images, so its winners differ less than those of
    new images would.

    `benign` and `adversarial` [candidates, images] say whether a candidate gets an image right,
    `undefended` [benign images] whether the undefended network does; `n_members` [candidates].
    `most_lost`: benign images that a candidate may lose. Same seed, same answer.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), 17.6, with the choice
    in place of the fit.
    """
    chance = np.random.default_rng(seed)
    lost = undefended.sum() - benign.sum(axis=1)
    gain = undefended[None].astype(np.float32) - benign.astype(np.float32)
    defended = adversarial.astype(np.float32)
    n_benign, n_adversarial = benign.shape[1], adversarial.shape[1]
    surplus, n_broken = 0.0, 0
    for _ in range(n_resamples):
        benign_times, adversarial_times = (
            np.bincount(chance.integers(n, size=n), minlength=n).astype(np.float32)
            for n in (n_benign, n_adversarial)
        )
        allowed = gain @ benign_times <= most_lost
        n_right = defended @ adversarial_times
        # Fewer members among equals; no candidate allowed leaves them all.
        value = np.where(allowed | ~allowed.any(), n_right - n_members / 64, -np.inf)
        chosen = int(value.argmax())
        surplus += float(n_right[chosen]) - float(defended[chosen].sum())
        n_broken += bool(lost[chosen] > most_lost)
    points = 100 * surplus / n_resamples / n_adversarial
    return Optimism(points, n_broken / n_resamples, n_resamples)


def held_out_rows(rows: pd.DataFrame, roles: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Rows of `ensemble_report` as of tables: each role's, under its name.

    `roles` names a chain and its members for each.
    """
    parts = [
        rows[(rows["chain"] == chain) & (rows["members"] == members)].assign(table=role)
        for role, (chain, members) in roles.items()
    ]
    lines = pd.concat(parts)
    lines[["pattern", "qs_of", "qs_af"]] = pd.NA  # of tables, which ensembles are not
    return lines


def answer_text(
    found: Tuned, held_out: pd.DataFrame, expected: Optimism, *, max_decline_points: float
) -> str:
    """The answer as aligned text for a terminal, every figure with its 95 % interval.

    `held_out` has rows of the ensembles "none", "single", "paper" and "tuned".
    """
    lines = summary(held_out).set_index("table")
    winner, report = found.winner, lines[lines.index == "tuned"].iloc[0]
    n_benign, n_adv = int(winner["n_benign"]), int(winner["n_adversarial"])
    n_lost = int(winner["n_benign_right_undefended"] - winner["n_benign_right"])
    n_right = int(winner["n_adversarial_right"])
    low, high = wilson(n_right, n_adv)
    share = {"accuracy": 100 * n_right / n_adv, "low": 100 * low, "high": 100 * high}
    same = ["n_adversarial_right", "feasible"]
    n_tied = int((found.trials[same] == winner[same]).all(axis=1).sum())
    facts = {
        "winner": f"{winner['members']} at {setting(winner)}",
        "Def, all": f"{interval(share)} %    n {n_adv}",
        "decline": f"{100 * n_lost / n_benign + 0.0:5.1f} points, {n_lost} of {n_benign} images "
        f"(limit: below {max_decline_points:g} points)",
        "ties": f"{n_tied} of {len(found.trials)} chains have a subset as good",
        "best single": f"{found.single['members']} at {setting(found.single)}",
        "paper's five": f"{setting(found.paper)}"
        + ("" if found.paper["feasible"] else " (breaks the decline rule)"),
        "optimism": f"at least {expected.points:.1f} points of Def from choosing; "
        f"{100 * expected.share_broken:.0f} % of {expected.n_resamples} resamples break "
        "the limit",
    }
    # Tuning minus report: two sets of images, so an interval for independent shares.
    n_held, n_held_right = int(report["n_adv"]), int(report["n_adv_right"])
    least, most = share_difference(n_right, n_adv, n_held_right, n_held)
    points = 100 * (n_right / n_adv - n_held_right / n_held)
    text = [
        "tuning",
        *(f"  {name:<15}{fact}" for name, fact in facts.items()),
        *report_text(lines, "ensemble", _ENSEMBLES),
        *grouped_text(held_out, "ensemble", _ENSEMBLES),
        *gained_text(held_out, _PAIRS),
        "",
        f"tuning minus report, Def: {points:.1f} [{100 * least:.1f}, {100 * most:.1f}] points",
    ]
    return "\n".join(text)


def verdict(found: Tuned, held_out: pd.DataFrame, under: str) -> str:
    """What the tuned ensemble keeps of held-out images attacked, and its price: a sentence."""
    winner = found.winner
    return surface.verdict(held_out, "tuned", f"{winner['members']} at {setting(winner)}", under)


def setting(line: "pd.Series[float]") -> str:
    """A chain's settings in words."""
    return f"sigma {line['sigma_255']:g}/255, xi {line['xi']:g}, QS_AF {line['qs_af']}"
