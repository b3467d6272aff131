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
from results.tables.surface import Bools, feasible, summary
from results.words import interval

AXES = ("sigma_255", "xi", "qs_af")  # what distinguishes the chains of a study
PAPER = "M+M90+M70+M50+M30"

# Of a trial: its best subset first. Across trials the earlier one stays where all else is equal.
_ORDER = {
    "n_adversarial_right": False, "n_members": True, "n_benign_right": False, "subset": True,
}  # fmt: skip
_MEASURES = {
    "acc_benign": "benign %",
    "acc_dec": "decline, points",
    "def_all": "Def all %",
    "def_successful": "Def successful %",
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

    Raises:
        ValueError: no rows, or chains scored on different images.
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
    lines = _best_first(lines)
    return Tuned(
        trials=lines.drop_duplicates("trial").sort_values("trial", ignore_index=True),
        winner=lines.iloc[0],
        single=_leader(lines, lines["n_members"] == 1),
        paper=_leader(lines, lines["members"] == PAPER),
        front=_front(lines[on_front[lines.index]]),
        by_size=_by_size(lines[lines["feasible"]]),
    )


def _best_first(lines: pd.DataFrame) -> pd.DataFrame:
    """Feasible ones first, by the rules; of those that are not, the least decline first."""
    lost = (lines["n_benign_right_undefended"] - lines["n_benign_right"]).where(
        ~lines["feasible"], 0
    )
    keys = lines.assign(lost=lost).sort_values(
        ["feasible", "lost", *_ORDER, "trial"],
        ascending=[False, True, *_ORDER.values(), True],
        kind="stable",
    )
    return lines.loc[keys.index]


def _leader(lines: pd.DataFrame, chosen: "pd.Series[bool]") -> "pd.Series[float]":
    return lines[chosen].iloc[0]


def _front(lines: pd.DataFrame) -> pd.DataFrame:
    keys = ["n_members", "n_adversarial_right", "n_benign_right"]
    first = lines.drop_duplicates(keys)
    return first.sort_values(keys, ascending=[True, False, False], ignore_index=True)


def _by_size(lines: pd.DataFrame) -> pd.DataFrame:
    best = lines.groupby(["sigma_255", "n_members"])["n_adversarial_right"].max().reset_index()
    share = 100 * best["n_adversarial_right"].astype(float) / int(lines["n_adversarial"].iloc[0])
    return best.assign(defended=share)


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

    Args:
        benign: [candidates, images], whether a candidate gets a benign image right.
        adversarial: the same of adversarial images.
        undefended: [benign images], whether the undefended network does.
        n_members: [candidates].
        most_lost: benign images that a candidate may lose.
        n_resamples: how often images are drawn with replacement and the best is chosen anew.
        seed: same seed, same answer.

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
        times = np.bincount(chance.integers(n_benign, size=n_benign), minlength=n_benign)
        allowed = gain @ times.astype(np.float32) <= most_lost
        times = np.bincount(chance.integers(n_adversarial, size=n_adversarial),
                            minlength=n_adversarial)  # fmt: skip
        n_right = defended @ times.astype(np.float32)
        # Fewer members among equals; no candidate allowed leaves them all.
        value = np.where(allowed | ~allowed.any(), n_right - n_members / 64, -np.inf)
        chosen = int(value.argmax())
        surplus += float(n_right[chosen]) - float(defended[chosen].sum())
        n_broken += bool(lost[chosen] > most_lost)
    return Optimism(
        100 * surplus / n_resamples / n_adversarial, n_broken / n_resamples, n_resamples
    )


def by_role(held_out: pd.DataFrame, roles: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Rows of `ensemble_report`, a copy for each role of a chain's members; column `ensemble`."""
    parts = [
        held_out[(held_out["chain"] == chain) & (held_out["members"] == members)].assign(
            ensemble=role
        )
        for role, (chain, members) in roles.items()
    ]
    return pd.concat(parts)


def report_lines(report: pd.DataFrame) -> pd.DataFrame:
    """`results.summary` of held-out rows, a line per ensemble, indexed by its name."""
    rows = report.assign(table=report["ensemble"])
    for name in ("pattern", "qs_of", "qs_af"):  # of tables, which ensembles are not
        rows[name] = pd.NA
    return summary(rows).set_index("table")


def answer_text(
    found: Tuned, report: pd.DataFrame, expected: Optimism, *, max_decline_points: float
) -> str:
    """The answer as aligned text of at most 100 columns, every figure with its 95 % interval.

    `report` holds held-out rows of the ensembles "none", "single", "paper" and "tuned".
    """
    winner, held_out = found.winner, report_lines(report)
    n_benign, n_adv = int(winner["n_benign"]), int(winner["n_adversarial"])
    n_lost = int(winner["n_benign_right_undefended"] - winner["n_benign_right"])
    share = _share(int(winner["n_adversarial_right"]), n_adv)
    facts = {
        "winner": f"{winner['members']} at {setting(winner)}",
        "Def, all": f"{share} %    n {n_adv}",
        "decline": f"{100 * n_lost / n_benign + 0.0:5.1f} points, {n_lost} of {n_benign} images "
        f"(limit: below {max_decline_points:g} points)",
        "ties": f"{_n_tied(found)} of {len(found.trials)} chains have a subset as good",
        "best single": f"{found.single['members']} at {setting(found.single)}",
        "paper's five": f"{setting(found.paper)}"
        + ("" if found.paper["feasible"] else " (breaks the decline rule)"),
        "optimism": f"at least {expected.points:.1f} points of Def from choosing; "
        f"{100 * expected.share_broken:.0f} % of {expected.n_resamples} resamples break "
        "the limit",
    }
    text = [
        "tuning",
        *(f"  {name:<15}{fact}" for name, fact in facts.items()),
        "",
        *_report(held_out),
    ]
    return "\n".join([*text, *_gap(winner, _line(held_out, "tuned"))])


def setting(line: "pd.Series[float]") -> str:
    """A chain's settings in words."""
    return f"sigma {line['sigma_255']:g}/255, xi {line['xi']:g}, QS_AF {line['qs_af']}"


def _n_tied(found: Tuned) -> int:
    names = ["n_adversarial_right", "feasible"]
    return int((found.trials[names] == found.winner[names]).all(axis=1).sum())


def _report(lines: pd.DataFrame) -> list[str]:
    names = {"none": "M alone", "single": "best single", "paper": "paper's five", "tuned": "tuned"}
    head = f"  {'ensemble':<14}" + "".join(f"{name:>21}" for name in _MEASURES.values())
    body = [
        f"  {shown:<14}" + "".join(f" {_measure(_line(lines, name), m):>20}" for m in _MEASURES)
        for name, shown in names.items()
    ]
    counts = [lines[n].iloc[0] for n in ("n_benign", "n_benign", "n_adv", "n_successful")]
    return ["held-out report", head, *body, f"  {'n':<14}" + "".join(f"{n:>21}" for n in counts)]


def _line(lines: pd.DataFrame, name: str) -> "pd.Series[float]":
    return lines[lines.index == name].iloc[0]


def _gap(winner: "pd.Series[float]", line: "pd.Series[float]") -> list[str]:
    """Tuning minus report: two sets of images, so an interval for independent shares."""
    hits = (int(winner["n_adversarial_right"]), int(line["n_adv_right"]))
    trials = (int(winner["n_adversarial"]), int(line["n_adv"]))
    low, high = share_difference(hits[0], trials[0], hits[1], trials[1])
    points = 100 * (hits[0] / trials[0] - hits[1] / trials[1])
    return [
        "",
        f"tuning minus report, Def: {points:.1f} [{100 * low:.1f}, {100 * high:.1f}] points",
    ]


def _measure(line: "pd.Series[float]", name: str) -> str:
    return interval(line, name, low=f"{name}_low", high=f"{name}_high")


def _share(n_hits: int, n_trials: int) -> str:
    low, high = wilson(n_hits, n_trials)
    return f"{100 * n_hits / n_trials:5.1f} [{100 * float(low):5.1f}, {100 * float(high):5.1f}]"
