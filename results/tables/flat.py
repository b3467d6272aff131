"""One step for all 64 coefficients beside the searched tables: what does a partition gain?"""

from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from results.draw import STYLE
from results.tables.picture import WINNER
from results.tables.surface import feasible, measure

_SEARCHED: dict[str, Any] = {"s": 12, "cmap": "viridis", "linewidths": 0}
_FLAT: dict[str, Any] = {"color": "C3", "marker": "s", "markersize": 4, "linestyle": ""}


def best_flat(lines: pd.DataFrame, *, max_decline_points: float) -> str | None:
    """The flat table that a search would have chosen, by the same rule; None where none keeps it.

    `lines` of `results.summary`, of flat tables alone.
    """
    allowed = lines[feasible(lines, max_decline_points=max_decline_points)]
    if allowed.empty:
        return None
    best = allowed.sort_values(["n_adv_right", "acc_dec"], ascending=[False, True])
    return str(best["table"].iloc[0])


def flat_text(lines: pd.DataFrame, *, max_decline_points: float) -> str:
    """The best of the flat tables in a line of the answer."""
    head = f"  {'flat step':<17}"
    name = best_flat(lines, max_decline_points=max_decline_points)
    if name is None:
        return f"{head}none of {len(lines)} flat tables keeps Acc_dec < {max_decline_points:g}"
    line = lines[lines["table"] == name].iloc[0]
    costs = f"Acc_dec {measure(line, 'acc_dec')}, Def {measure(line, 'def_all')} %"
    return f"{head}{name}, best of {len(lines)}: {costs}"


def front(
    searched: pd.DataFrame,
    flat: pd.DataFrame,
    *,
    winner: str | None,
    title: str,
    max_decline_points: float,
) -> Figure:
    """What each table defends against what it costs: searched ones as dots, flat ones as squares.

    Both are lines of `results.summary` on the same images. Axes: Acc_dec in points, Def in percent.
    Tables that cost over ten times the limit, at least 10 points, are not shown.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        reach = max(10.0, 10 * max_decline_points)
        near = searched[searched["pattern"].notna() & (searched["acc_dec"] <= reach)]
        dots = axes.scatter(near["acc_dec"], near["def_all"], c=near["pattern"], **_SEARCHED)
        figure.colorbar(dots, ax=axes, label="partition pattern k of searched tables", pad=0.02)
        steps = flat[flat["acc_dec"] <= reach].sort_values("acc_dec")
        axes.plot(steps["acc_dec"], steps["def_all"], label="one step for all", **_FLAT)
        for _, line in steps.iloc[:: max(1, len(steps) // 6)].iterrows():
            at = (line["acc_dec"], line["def_all"])
            step = str(line["table"]).removeprefix("uniform")
            axes.annotate(step, at, xytext=(4, -9), textcoords="offset points", color="C3")
        own = near[near["table"] == winner]
        axes.plot(own["acc_dec"], own["def_all"], label=f"winner: {winner}", **WINNER)
        axes.axvline(max_decline_points, color="black", linestyle=":", label="limit of Acc_dec")
        axes.set(
            title=title,
            xlabel="Acc_dec: accuracy lost on benign images (points)",
            ylabel="Def: accuracy on adversarial images (%)",
        )
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
        handles, labels = axes.get_legend_handles_labels()
        shown = [i for i, label in enumerate(labels) if label != "winner: None"]
        axes.legend([handles[i] for i in shown], [labels[i] for i in shown], loc="best")
    return figure
