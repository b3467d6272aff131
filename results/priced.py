"""The defence that gains most at a small price: chosen on some images, told of others."""

from typing import Any

from results.counts import Rows
from results.words import gained, interval


def best(chosen: Rows, won: Rows, lines: Rows, limit: float) -> list[str]:
    """A line for each budget: the best of defences that cost less than `limit` benign points.

    `chosen` are the `accuracies` by `defence` and `eps_255` that it is chosen by; `won` (from
    `compared` with none) and `lines` are of the images that it is told of: what it gains there,
    its price, and what is left of it under the last `kind` of attack, which is masked where the
    first one leaves less.
    """
    right: Any = chosen.pivot_table(index="defence", columns="eps_255", values="n_right")
    lost = 100 * (right.loc["none", 0] - right[0]) / chosen["n"].iloc[0]
    fair = right[lost < limit].drop("none")
    if fair.empty:
        return ["  none: every quality costs more"]
    gain: Any = won.set_index(["second", "eps_255"])
    kinds = [*lines["kind"].unique()]
    first, last = (lines[lines["kind"] == kind] for kind in (kinds[0], kinds[-1]))
    first, last = (of.set_index(["defence", "eps_255"]) for of in (first, last))
    out = []
    for eps, name in fair.drop(columns=0).idxmax().items():
        price = gain.loc[(name, 0)]
        points = f"{price['gain']:+.1f} [{price['low']:+.1f}, {price['high']:+.1f}]"
        left, alone = last.loc[(name, eps)], first.loc[(name, eps)]
        out.append(f"  eps {eps:g}: {name} gains {gained(gain.loc[(name, eps)])}")
        out.append(f"{'':<4}for {points} benign points")
        out.append(f"{'':<4}{interval(left).lstrip()} % left under {kinds[-1]}")
        if alone["n_right"] < left["n_right"]:
            out.append(f"{'':<4}which is masked: {kinds[0]} leaves {interval(alone).lstrip()}")
    return out
