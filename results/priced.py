"""The defence that gains most at a small price: chosen on some images, told of others."""

from typing import Any

from results.counts import Rows
from results.words import gained, interval


def best(chosen: Rows, won: Rows, lines: Rows, limit: float) -> list[str]:
    """A line for each budget: the best of defences that cost less than `limit` benign points.

    `chosen` are the `accuracies` by `defence` and `eps_255` that it is chosen by; `won` (from
    `compared` with none) and `lines` are of the images that it is told of: what it gains there,
    its price, and what is left of it under the last `kind` of attack.
    """
    right: Any = chosen.pivot_table(index="defence", columns="eps_255", values="n_right")
    lost = 100 * (right.loc["none", 0] - right[0]) / chosen["n"].iloc[0]
    fair = right[lost < limit].drop("none")
    if fair.empty:
        return ["  none: every quality costs more"]
    gain: Any = won.set_index(["second", "eps_255"])
    last: Any = lines[lines["kind"] == lines["kind"].iloc[-1]].set_index(["defence", "eps_255"])
    out = []
    for eps, name in fair.drop(columns=0).idxmax().items():
        price = gain.loc[(name, 0)]
        points = f"{price['gain']:+.1f} [{price['low']:+.1f}, {price['high']:+.1f}]"
        left = f"{interval(last.loc[(name, eps)])} % left in the white box"
        out.append(f"  eps {eps:g}: {name} gains {gained(gain.loc[(name, eps)])}")
        out.append(f"{'':<4}for {points} benign points; {left}")
    return out
