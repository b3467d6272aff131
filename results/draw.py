"""One way to draw accuracies: curves, maps, bars. Frames in, figures out, in one style."""

import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from results.counts import Rows
from results.words import check_places, plain

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture everywhere
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "hatch.linewidth": 0.5,
    "text.usetex": False,
}
_MARKERS = "os^Dv<>"
_BELOW: dict[str, Any] = {"loc": "outside lower center", "frameon": False}  # a legend
_LEAST_RANGE = 5.0  # points of a colour scale: one image more or less is no colour
_HEAD = 8  # letters that a column of a heat map is wide enough for


def png(figure: Figure) -> bytes:
    """The picture's file, 150 dpi: same numbers, same bytes."""
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        # No version of the writer in the file: the picture alone decides its bytes.
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def curves(
    lines: Rows,
    x: str,
    series: str,
    panel: str,
    *,
    title: str,
    xlabel: str = "",
    value: str = "accuracy",
    levels: Rows | None = None,
    across: tuple[str, str] | None = None,
) -> Figure:
    """A share over `x` with 95 % intervals: a line for each of a series, a panel for each kind.

    `lines` are those of `results.accuracies`, or of `results.shares` of a `value`; `x`, `series`
    and `panel` name columns, that of `x` holds numbers, or texts in their order. `levels` are
    lines that have no x, as of an undefended network: dotted, a cross in the last panel. `across`
    names two kinds of panel; one more panel shows the second against the first, so that series
    compare at equal cost.
    """
    lines = lines.rename(columns={value: "accuracy"})
    kinds, names = (list(dict.fromkeys(lines[name])) for name in (panel, series))
    order = list(dict.fromkeys(lines[x]))
    n_panels = len(kinds) + (across is not None)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, 3.4 * n_panels), 3.6), layout="constrained")
        panels = figure.subplots(1, n_panels, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=False):
            for i, name in enumerate(names):
                own = lines[(lines[panel] == kind) & (lines[series] == name)]
                shift = (i - (len(names) - 1) / 2) * 0.12
                _curve(axes, own, x, order, shift=shift, look=_look(i) | {"label": str(name)})
            for _, level in () if levels is None else levels[levels[panel] == kind].iterrows():
                axes.axhline(level["accuracy"], color="0.4", linestyle=":", linewidth=1)
            n = _numbers(lines[lines[panel] == kind])
            axes.set(title=f"{kind} ({n})", xlabel=xlabel or x, ylabel=f"{value} (%)")
            axes.grid(axis="y", color="0.92")
            percent(axes)
        if across is not None:
            _across(panels[-1], lines, levels, (x, series, panel), across)
        handles, labels = panels[0].get_legend_handles_labels()
        if across is not None and levels is not None:
            more = panels[-1].get_legend_handles_labels()
            handles, labels = handles + more[0], labels + more[1]
        figure.legend(handles, labels, title=series, ncols=min(6, len(labels)), **_BELOW)
        titled(figure, title)
    return figure


def percent(axes: Axes, ways: str = "y") -> None:
    """Have scales of a share, "x", "y" or "xy", end at 0 and 100 %, once all is drawn."""
    for way in ways:
        low, high = getattr(axes, f"get_{way}lim")()
        getattr(axes, f"set_{way}lim")(max(0.0, low), min(100.0, high))


def _look(i: int) -> dict[str, Any]:
    return {"color": f"C{i % 10}", "marker": _MARKERS[i % len(_MARKERS)], "markersize": 3.5}


def _curve(
    axes: Axes, own: Rows, x: str, order: list[str], *, shift: float, look: dict[str, Any]
) -> None:
    if pd.api.types.is_numeric_dtype(own[x]):
        own = own.sort_values(x)
        axes.plot(own[x], own["accuracy"], linewidth=1, **look)
        axes.fill_between(own[x], own["low"], own["high"], color=look["color"], alpha=0.15)
        return
    at = [order.index(value) + shift for value in own[x]]  # intervals beside each other
    axes.errorbar(at, own["accuracy"], yerr=_error(own), capsize=2, linewidth=1.2, **look)
    axes.set_xticks(range(len(order)), order)


def _error(lines: Rows) -> Any:
    """How far the limits lie below and above, as `yerr` wants them."""
    return np.stack([lines["accuracy"] - lines["low"], lines["high"] - lines["accuracy"]])


def _across(
    axes: Axes, lines: Rows, levels: Rows | None, names: tuple[str, ...], kinds: tuple[str, str]
) -> None:
    x, series, panel = names
    for i, name in enumerate(dict.fromkeys(lines[series])):
        own = lines[lines[series] == name]
        cost, gain = (own[own[panel] == kind].set_index(x)["accuracy"] for kind in kinds)
        axes.plot(cost, gain.reindex(cost.index), linewidth=0.7, **_look(i))
    if levels is not None:
        cost, gain = (levels[levels[panel] == kind]["accuracy"] for kind in kinds)
        axes.plot(cost, gain, "kx", label="no defence")
    axes.set(title="at equal cost", xlabel=f"{kinds[0]} (%)", ylabel=f"{kinds[1]} (%)")
    percent(axes, "xy")


def heat(
    lines: Rows,
    down: str,
    across: str,
    *,
    title: str,
    panel: str = "",
    xlabel: str = "",
    ylabel: str = "",
    value: str = "accuracy",
) -> Figure:
    """A share in percent as a map with its numbers, one for each kind of `panel`."""
    lines = lines.rename(columns={value: "accuracy"})
    kinds = list(dict.fromkeys(lines[panel])) if panel else [""]
    rows, columns = (list(dict.fromkeys(lines[name])) for name in (down, across))
    width, height = len(kinds) * (1.6 + 0.5 * len(columns)), 1.6 + 0.32 * len(rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(5.0, width), height), layout="constrained")
        for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
            own = lines[lines[panel] == kind] if panel else lines
            check_places(own, [down, across])
            grid = own.pivot_table(index=down, columns=across, values="accuracy", sort=False)
            _map(axes, grid.reindex(index=rows, columns=columns).to_numpy(dtype=float))
            heads = [plain(c) for c in columns]
            axes.set_xticks(range(len(columns)), heads)
            if max(map(len, heads)) > _HEAD:
                for text in axes.get_xticklabels():
                    text.set(rotation=45, ha="right")
            axes.set_yticks(range(len(rows)), [plain(r) for r in rows])
            name = f"{kind} images" if panel == "subject" else kind or f"{value} (%)"
            axes.set(
                title=f"{name} ({_numbers(own)})", xlabel=xlabel or across, ylabel=ylabel or down
            )
        titled(figure, title)
    return figure


def _numbers(lines: Rows) -> str:
    """How many images: each number, or from the least to the most."""
    n = sorted(set(lines["n"]))
    return f"n {n[0]} to {n[-1]}" if len(n) > 2 else f"n {' '.join(map(str, n))}"


def _map(axes: Axes, values: Any) -> None:
    high = np.nanmax(values)
    low = min(np.nanmin(values), high - _LEAST_RANGE)
    shown = axes.imshow(values, cmap="viridis", aspect="auto", vmin=low, vmax=high)
    for y, x in np.argwhere(~np.isnan(values)):
        dark = values[y, x] < low + 0.6 * (high - low)  # of viridis, on which white is read
        ink = "white" if dark else "black"
        axes.text(x, y, f"{values[y, x]:.1f}", ha="center", va="center", color=ink)
    axes.tick_params(length=0)
    assert axes.figure is not None
    axes.figure.colorbar(shown, ax=axes, pad=0.02)


def titled(figure: Figure, title: str) -> None:
    """Above all, in as many lines as its width asks for."""
    width = int(13 * figure.get_figwidth())  # letters; of this size thirteen take an inch
    lines = (textwrap.fill(line, width) for line in title.splitlines())
    figure.suptitle("\n".join(lines), fontsize=10)


def bars(lines: Rows, group: str, bar: str, *, title: str) -> Figure:
    """Accuracy with 95 % intervals: groups of bars for `group`, a bar for each of `bar`."""
    groups, names = (list(dict.fromkeys(lines[name])) for name in (group, bar))
    places, width = np.arange(len(groups)), 0.8 / len(names)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.subplots()
        for i, name in enumerate(names):
            own = lines[lines[bar] == name].set_index(group).reindex(groups)
            at = places + (i - (len(names) - 1) / 2) * width
            look: dict[str, Any] = {"label": str(name), "color": f"C{i - 1}" if i else "0.75"}
            thin = {"elinewidth": 0.8, "ecolor": "0.2"}
            axes.bar(at, own["accuracy"], width, yerr=_error(own), error_kw=thin, **look)
        axes.set_xticks(places, [str(g) for g in groups])
        axes.set(ylabel="accuracy (%)", ylim=(0, 100))
        titled(figure, title)
        figure.legend(ncols=len(names), **_BELOW)
    return figure


def squares(
    lines: Rows, down: str, across: str, *, title: str, panels: Mapping[str, Sequence[str]],
    marked: Sequence[tuple[str, str]] = (),
) -> Figure:  # fmt: skip
    """Accuracy and its limits in squares, a panel for some columns each; `marked` ones framed red.

    `panels` gives each panel's title its values of `across`, `marked` pairs of down and across.
    """
    rows = list(dict.fromkeys(lines[down]))
    known = {(line[down], line[across]): line for _, line in lines.iterrows()}
    widest = max(4, *(len(columns) for columns in panels.values()))
    with mpl.rc_context(STYLE):
        height = len(panels) * (1.0 + 0.34 * len(rows)) + 0.7
        figure = Figure(figsize=(2.0 + 0.86 * widest, height), layout="constrained")
        places = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, (name, columns) in zip(places, panels.items(), strict=True):
            for (y, row), (x, column) in itertools.product(enumerate(rows), enumerate(columns)):
                if (row, column) in known:
                    _square(axes, x, y, known[row, column], framed=(row, column) in marked)
            axes.set_xticks(range(len(columns)), [_head(c) for c in columns])
            axes.set_yticks(range(len(rows)), rows)
            axes.set(xlim=(-0.5, widest - 0.5), ylim=(len(rows) - 0.5, -0.5))
            axes.set_title(textwrap.fill(name, 11 * widest), loc="left")  # eleven letters a square
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        titled(figure, title)
    return figure


def _head(column: str) -> str:
    """What stands behind the kind, in two lines."""
    return column.rpartition("/")[2].replace(":", "\n").replace(",", "\n").replace(" ", "\n", 1)


def _square(axes: Axes, x: int, y: int, line: Any, *, framed: bool) -> None:
    share = line["accuracy"] / 100
    look: dict[str, Any] = {"ha": "center", "va": "center"}
    look["color"] = "white" if share < 0.55 else "black"
    colour = mpl.colormaps["cividis"](share)
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="w"))
    axes.text(x, y - 0.14, f"{line['accuracy']:.0f}", **look)
    axes.text(x, y + 0.26, f"{line['low']:.0f}-{line['high']:.0f}", fontsize=5.5, **look)
    if framed:
        frame: dict[str, Any] = {"fill": False, "edgecolor": "red", "linewidth": 1.2}
        axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, **frame))
