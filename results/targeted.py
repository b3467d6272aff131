"""How often a targeted attack reaches its target: by pair of classes, and over the budget."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from results.counts import Rows, shares
from results.draw import curves, heat
from results.stats import mean_interval
from results.words import interval, text_table


def counted(rows: Rows, classes: Sequence[str]) -> tuple[Rows, Rows]:
    """Of the images that the network gets right: by pair of classes and budget, and by budget.

    An image is one observation with its mean over all targets: its targets do not count as
    independent.
    """
    right = rows[rows["before"] == rows["label"]]
    right = right.assign(
        source=right["label"].map(dict(enumerate(classes))),
        goal=right["target"].map(dict(enumerate(classes))),
        reached=right["after"] == right["target"],
        moved=right["after"] != right["before"],
    ).sort_values(["eps_255", "label", "target"], kind="stable")
    pairs = shares(right, "reached", ["eps_255", "source", "goal"])
    each = right.groupby(["eps_255", "image"])[["reached", "moved"]].mean()
    lines = [
        {"eps_255": eps, "outcome": said, "n": len(own), "images": "all pairs"}
        | dict(zip(("accuracy", "low", "high"), _percent(own[name]), strict=True))
        for eps, own in each.groupby("eps_255")
        for name, said in (("reached", "target reached"), ("moved", "another class than before"))
    ]
    return pairs, pd.DataFrame(lines)


def _percent(of_images: "pd.Series[float]") -> list[float]:
    return [min(max(100 * limit, 0.0), 100.0) for limit in mean_interval(of_images)]


def text(pairs: Rows, lines: Rows, eps_255: float, shown: Sequence[tuple[str, str]]) -> str:
    """Over the budget; at one budget the pairs `shown`, the best and the worst."""
    own = pairs[pairs["eps_255"] == eps_255].set_index(["source", "goal"])
    ranked = own["reached"].sort_values(kind="stable").index
    said = [text_table(lines, "outcome", "eps_255")]
    said.append(
        f"% of {lines['n'].iloc[0]} images that the network gets right, mean of all targets"
    )
    said.append(f"at {eps_255:g}, by pair:")
    for name, pair in (*(("", p) for p in shown), ("most", ranked[-1]), ("least", ranked[0])):
        if pair in own.index:
            line = own.loc[pair]
            words = " to ".join(pair)
            said.append(
                f"  {words:<28}{interval(line, 'reached')} n {int(line['n']):<4} {name}".rstrip()
            )
    return "\n".join(said)


def verdict(lines: Rows, eps_255: float) -> str:
    """How often the target is reached at one budget, and how often any other class."""
    own = lines[lines["eps_255"] == eps_255].set_index("outcome")
    reached, moved = (interval(own.iloc[place]).strip() for place in (0, 1))
    return (
        f"one step of {eps_255:g}/255 reaches its target in {reached} % of pairs, some other class "
        f"than before in {moved} %"
    )


def figures(pairs: Rows, lines: Rows, eps_255: float, *, title: str) -> Mapping[str, Figure]:
    """The matrix at one budget, and success over all."""
    own = pairs[pairs["eps_255"] == eps_255]
    same = own.drop_duplicates("source")
    own = pd.concat([own, same.assign(goal=same["source"], reached=np.nan)])
    order = {name: i for i, name in enumerate(same["source"])}
    by = own.sort_values(["source", "goal"], key=lambda name: name.map(order), kind="stable")
    return {
        "targeted_matrix": heat(
            by,
            "source",
            "goal",
            title=f"{title}, eps {eps_255:g}/255",
            value="reached",
            xlabel="target",
            ylabel="class of the image",
        ),
        "targeted_budgets": curves(
            lines.rename(columns={"accuracy": "share of images"}),
            "eps_255",
            "outcome",
            "images",
            title=title,
            xlabel="eps (1/255)",
            value="share of images",
        ),
    }
