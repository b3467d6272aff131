"""A tuning study as a picture: its course, what mattered, the front, and sigma by size."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from results.draw import STYLE, percent, titled
from results.tables.picture import WINNER
from results.tuned import Tuned

_NAMES = {"sigma_255": "noise sigma", "xi": "xi", "xi_percent": "xi", "qs_af": "QS_AF"}
_MOST_LABELS = 14  # numbers in a map's cells are left out beyond so many lines


def tuning_figure(
    found: Tuned, importances: Mapping[str, float], *, title: str, max_decline_points: float = 1.0
) -> Figure:
    """Four panels: history, importance, front, and the best Def by sigma and number of members.

    `importances`: share of the objective's variance by parameter; empty where unknown.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 7.6), layout=ConstrainedLayoutEngine(wspace=0.05, hspace=0.06))
        (history, importance), (front, heat) = figure.subplots(2, 2)
        _history(history, found)
        _importance(importance, importances)
        _front(front, found, max_decline_points)
        _heat_map(heat, found)
        titled(figure, title)
    return figure


def _defended(lines: pd.DataFrame) -> "pd.Series[float]":
    return 100 * lines["n_adversarial_right"] / lines["n_adversarial"]


def _benign(lines: pd.DataFrame) -> "pd.Series[float]":
    return 100 * lines["n_benign_right"] / lines["n_benign"]


def _history(axes: Axes, found: Tuned) -> None:
    numbers, defended = found.trials["trial"] + 1, _defended(found.trials)
    axes.plot(numbers, defended.cummax(), color="0.5", drawstyle="steps-post", label="best so far")
    look: dict[str, Any] = {"markersize": 4, "clip_on": False}  # whole at 100 %, too
    axes.plot(numbers, defended, "o", label="a trial's best feasible subset", **look)
    axes.plot(found.winner["trial"] + 1, defended.max(), label="winner", **WINNER)
    axes.set(xlabel="trial, in order of finishing", ylabel="Def (%)")
    axes.set_title("History: accuracy on adversarial images, tuning split")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="0.9")
    percent(axes)
    axes.legend(frameon=False, loc="best")


def _importance(axes: Axes, importances: Mapping[str, float]) -> None:
    axes.set_title("Importance: share of the objective's variance (fANOVA)")
    if not importances:
        axes.text(0.5, 0.5, "too few trials", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    names = sorted(importances, key=lambda name: importances[name])
    bars = axes.barh([_NAMES.get(n, n) for n in names], [importances[n] for n in names], height=0.6)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlim=(0, 1.1 * max(importances.values())), xlabel="share")


def _front(axes: Axes, found: Tuned, max_decline_points: float) -> None:
    lines = found.front
    shown = axes.scatter(
        _benign(lines), _defended(lines), c=lines["n_members"].astype(int), cmap="viridis",
        vmin=1, vmax=8, s=26, edgecolors="black", linewidths=0.5, zorder=3,
    )  # fmt: skip
    axes.figure.colorbar(shown, ax=axes, label="members", ticks=range(1, 9), pad=0.02)
    winner = found.winner.to_frame().T
    axes.plot(_benign(winner), _defended(winner), label="winner", zorder=4, **WINNER)
    undefended = 100 * winner["n_benign_right_undefended"].iloc[0] / winner["n_benign"].iloc[0]
    limit = undefended - max_decline_points
    said = f"limit: {max_decline_points:g} points below M"
    axes.axvline(limit, color="black", linestyle="--", linewidth=1, label=said)
    low, high = _benign(lines).min(), _benign(lines).max()
    axes.set_xlim(min(low, limit) - 0.2, max(high, undefended) + 0.2)
    axes.set(xlabel="accuracy on benign images (%)", ylabel="Def (%)")
    axes.set_title(f"Exact front: {len(lines)} subsets of all chains that none beats")
    axes.grid(color="0.92")
    percent(axes, "xy")
    axes.legend(frameon=False, loc="best")


def _heat_map(axes: Axes, found: Tuned) -> None:
    axes.set_title("Best feasible subset by noise and size")
    if found.by_size.empty:
        axes.text(0.5, 0.5, "none is feasible", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    table = found.by_size.pivot_table(index="sigma_255", columns="n_members", values="defended")
    table = table.reindex(columns=range(1, 9)).sort_index()
    values = table.to_numpy(dtype=float)
    shown = axes.imshow(values, cmap="viridis", origin="lower", aspect="auto")
    axes.figure.colorbar(shown, ax=axes, label="Def (%)", pad=0.02)
    axes.set_xticks(range(8), [f"{n}" for n in range(1, 9)])
    axes.set_yticks(range(len(table)), [f"{sigma:g}" for sigma in table.index])
    axes.set(xlabel="members", ylabel="noise sigma (1/255), tried ones")
    if len(table) > _MOST_LABELS:
        return
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for y, x in np.argwhere(~np.isnan(values)):
        dark = "white" if values[y, x] < middle else "black"
        axes.text(x, y, f"{values[y, x]:.1f}", ha="center", va="center", color=dark, fontsize=7)
