"""Accuracy on corrupted images: over severity, for each corruption, and against clean images."""

import math
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.counts import Rows
from results.draw import STYLE, percent, titled

# Okabe and Ito (2008), "Color Universal Design".
LOOKS: dict[str, dict[str, Any]] = {
    "original": {"color": "0.1", "marker": "o"},
    "BLS": {"color": "#0072B2", "marker": "s"},
    "JPEG": {"color": "#E69F00", "marker": "^"},
    "noise": {"color": "#009E73", "marker": "D"},
    "blur": {"color": "#CC79A7", "marker": "v"},
    "patch": {"color": "#56B4E9", "marker": "<"},
    "AugMix": {"color": "#8B6914", "marker": "*"},
    "joined": {"color": "#D55E00", "marker": "P", "linestyle": ":"},
    "table": {"color": "#7030A0", "marker": ">"},
    "BMHJ": {"color": "#006D77", "marker": "h"},
    "other": {"color": "0.5", "marker": "X"},
}
COLOURS = [look["color"] for look in LOOKS.values()]
N_ACROSS = 4


def short(setting: str) -> str:
    """A setting beside its point, whose colour says the family: "0.012", "40"."""
    return setting.removeprefix("none+").rpartition("lambda=")[2].removeprefix("jpeg")


def over_severity(lines: Rows, names: dict[str, str], *, title: str) -> Figure:
    """Lines of `Answered.severities`: the mean first, then a panel for each corruption.

    `names` says what a family is called in the legend, such as with its setting; what is none of
    `LOOKS` has a look by its place.
    """
    panels = list(dict.fromkeys(lines["corruption"]))
    n_down = math.ceil((len(panels) + 1) / N_ACROSS)
    with mpl.rc_context(STYLE):
        size = (2.4 * N_ACROSS, 0.6 + 2.0 * n_down)
        figure = Figure(figsize=size, layout="constrained")
        places = figure.subplots(n_down, N_ACROSS, sharex=True, squeeze=False).flat
        for panel, axes in zip(panels, places, strict=False):
            for i, (family, name) in enumerate(names.items()):
                own = lines[(lines["corruption"] == panel) & (lines["family"] == family)]
                placed = {"color": COLOURS[i % len(COLOURS)], "marker": "os^Dv<>"[i % 7]}
                look = {"markersize": 3.5, "linewidth": 1.2} | LOOKS.get(family, placed)
                axes.plot(own["severity"], own["accuracy"], label=name, **look)
                colour = look["color"]
                axes.fill_between(own["severity"], own["low"], own["high"], color=colour, alpha=0.1)
            axes.set_title(panel.replace("_", " "))
            axes.grid(axis="y", color="0.92")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            percent(axes)
        for axes in places:
            axes.set_axis_off()
        _legend(figure, n_down * N_ACROSS - 1)
        figure.supxlabel("severity", fontsize=8)
        figure.supylabel("accuracy (%)", fontsize=8)
        titled(figure, title)
    return figure


def _legend(figure: Figure, place: int) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.axes[place].legend(handles, labels, loc="center", frameon=False)


def against_clean(ranked: Rows, *, title: str) -> Figure:
    """Every setting of `Answered.ranking`: mean accuracy on corrupted over clean images."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for family, own in ranked.groupby("family", sort=False):
            look = LOOKS[str(family)] | {"linestyle": "none", "label": str(family)}
            error = [own["accuracy"] - own["low"], own["high"] - own["accuracy"]]
            axes.errorbar(own["clean"], own["accuracy"], yerr=error, elinewidth=0.5, **look)
            for _, line in own.iterrows():
                _name(axes, line, str(look["color"]))
        axes.margins(x=0.16)
        axes.set(xlabel="clean held-out images: accuracy (%)", ylabel="corrupted: accuracy (%)")
        axes.grid(color="0.92")
        percent(axes, "xy")
        figure.legend(loc="outside right upper", frameon=False)
        titled(figure, title)
    return figure


def _name(axes: Axes, line: Any, colour: str) -> None:
    axes.annotate(
        short(line["setting"]),
        (line["clean"], line["accuracy"]),
        xytext=(5, 3),
        textcoords="offset points",
        fontsize=6,
        color=colour,
    )
