"""The defence that gains most at a small price: chosen on some images, told of others."""

from typing import Any

from results.counts import Rows
from results.words import from_to, gained, interval, price


def verdict(chosen: Rows, told: Rows, limit: float) -> str:
    """At the budget where the chosen defence gains most: what is right with it and without."""
    picked, lines = fair(chosen, limit), told.set_index(["defence", "eps_255"])["accuracy"]
    if picked.empty:
        return f"no quality costs less than {limit:g} benign points"
    name = picked.drop(columns=0).idxmax()
    eps = max(name.index, key=lambda eps: lines[name[eps], eps] - lines["none", eps])
    right = from_to(lines["none", eps], lines[name[eps], eps])
    cost = price(lines["none", 0] - lines[name[eps], 0])
    return f"{name[eps]}: {right} under fgsm eps {eps:g}/255 {cost}, held out"


def fair(chosen: Rows, limit: float) -> Any:
    """Right answers of defences that cost less than `limit` benign points, by budget."""
    right: Any = chosen.pivot_table(index="defence", columns="eps_255", values="n_right")
    lost = 100 * (right.loc["none", 0] - right[0]) / chosen["n"].iloc[0]
    return right[lost < limit].drop("none")


def best(chosen: Rows, won: Rows, lines: Rows, limit: float) -> list[str]:
    """A line for each budget: the best of defences that cost less than `limit` benign points.

    `chosen` are the `accuracies` by `defence` and `eps_255` that it is chosen by; `won` (from
    `compared` with none) and `lines` are of the images that it is told of: what it gains there,
    its price, and what is left of it under the last `kind` of attack, which is masked where the
    first one leaves less.
    """
    allowed = fair(chosen, limit)
    if allowed.empty:
        return ["  none: every quality costs more"]
    gain: Any = won.set_index(["second", "eps_255"])
    kinds = [*lines["kind"].unique()]
    first, last = (lines[lines["kind"] == kind] for kind in (kinds[0], kinds[-1]))
    first, last = (of.set_index(["defence", "eps_255"]) for of in (first, last))
    out = []
    for eps, name in allowed.drop(columns=0).idxmax().items():
        paid = gain.loc[(name, 0)]
        points = f"{paid['gain']:+.1f} [{paid['low']:+.1f}, {paid['high']:+.1f}]"
        left, alone = last.loc[(name, eps)], first.loc[(name, eps)]
        out.append(f"  eps {eps:g}: {name} gains {gained(gain.loc[(name, eps)])}")
        out.append(f"{'':<4}for {points} benign points")
        out.append(f"{'':<4}{interval(left).lstrip()} % left under {kinds[-1]}")
        if alone["n_right"] < left["n_right"]:
            out.append(f"{'':<4}which is masked: {kinds[0]} leaves {interval(alone).lstrip()}")
    return out
