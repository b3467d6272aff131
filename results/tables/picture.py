"""The table search as a picture: what every table defends and costs, and where the limit runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from results.draw import STYLE, percent, titled
from results.tables.rate import jpeg_of, sampling_of
from results.tables.surface import feasible
from results.tables.winner import MeasuredBands, Winner, of_patterns

_DECLINE_REACH = 4.0  # points shown on either side of the limit; beyond them colour saturates
_MAX_TICKS = 9

_BORDER: dict[str, Any] = {"color": "black", "linewidth": 1.6}
_HALO: dict[str, Any] = {"color": "white", "linewidth": 3.2}
_MISSING: dict[str, Any] = {"fc": "0.85", "ec": "0.55", "hatch": "////", "linewidth": 0}
_POINT = {"linestyle": "", "markeredgecolor": "black", "markeredgewidth": 0.8}
_TIED: dict[str, Any] = _POINT | {"marker": "o", "markersize": 3.2, "color": "white"}
_DOT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 3.2, "markeredgewidth": 0}
_CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": 6, "color": "C3"}
WINNER: dict[str, Any] = _POINT | {
    "marker": "*", "markersize": 13, "color": "gold",
    "clip_on": False,  # whole where it lies on the frame, as at 100 %
}  # fmt: skip
_SEARCHED: dict[str, Any] = {"s": 12, "cmap": "viridis", "linewidths": 0}
_FLAT: dict[str, Any] = {"color": "C3", "marker": "s", "markersize": 4, "linestyle": ""}

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Grid:
    """The surface as matrices [k, QS_AF]; NaN and False where no table was measured."""

    k: list[int]
    qs_af: list[int]
    defended: Floats  # percent
    decline: Floats  # percentage points
    allowed: NDArray[np.bool_]
    undefended: float  # Def without a codec, in percent; NaN where no image was attacked


def table_heatmaps(
    summary: pd.DataFrame,
    winner: Winner | None,
    *,
    title: str,
    max_decline_points: float = 1.0,
    bands: MeasuredBands | None = None,
    whole: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Figure:
    """Def and Acc_dec over pattern k and QS_AF, with the feasible border, ties and winner.

    Cells are equally spaced whatever the steps. The border runs between measured cells only:
    next to a table that was not measured it is unknown. Colours of Acc_dec are linear around
    the limit (grey) and saturate 4 points from it, so that ruined tables do not hide it.

    `summary` are lines of `results.summary`; those without a pattern are left out. The winner is
    marked by a star, the tables it ties with by dots, Def without a defence by a line across the
    colour bar. `bands` label patterns that are not the paper's diagonals by their size. `whole` is
    the grid, patterns and steps, of a search that left out tables that could no longer win: they
    are hatched. In the figure axes[0] shows Def in percent, axes[1] Acc_dec in percentage points.
    ValueError where no table has a pattern, two share a cell, or the winner is not among them.
    """
    grid = _grid(summary, max_decline_points, whole or ((), ()))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.2), layout=ConstrainedLayoutEngine(wspace=0.04))
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        left.set_title("Def: accuracy on adversarial images, defended")
        right.set_title("Acc_dec: accuracy lost on benign images")
        label, span = "Def (%)", _span(np.append(grid.defended, grid.undefended))
        if not np.isnan(grid.undefended):
            label += f"; red: no defence, {grid.undefended:.1f}"
        bar = _draw_map(left, grid.defended, cmap="viridis", limits=span, label=label)
        bar.ax.axhline(grid.undefended, color="red", linewidth=3)
        limits = (max_decline_points - _DECLINE_REACH, max_decline_points + _DECLINE_REACH)
        _draw_map(right, grid.decline, cmap="coolwarm", limits=limits, label="Acc_dec (points)")
        measured = "n_OF (coefficients kept: smallest delta_a / delta_b)"
        left.set_ylabel(measured if bands else "partition pattern k (diagonals kept)")
        for axes, values in ((left, grid.defended), (right, grid.decline)):
            _label_axes(axes, grid, bands)
            _draw_marks(axes, values, grid, winner)
        titled(figure, title)
        _legend(figure, grid, winner, max_decline_points, bands, partial=whole is not None)
    return figure


def _grid(
    summary: pd.DataFrame, max_decline_points: float, whole: tuple[Sequence[int], Sequence[int]]
) -> _Grid:
    lines = summary[summary["pattern"].notna()]
    cells = lines[["pattern", "qs_af"]]
    if lines.empty or cells.duplicated().any():
        raise ValueError(
            f"expected one table per pattern and qs_af, found {len(lines)} tables in "
            f"{len(cells.drop_duplicates())} cells.\nHint: draw one qs_of of one search at a time."
        )
    known = (cells[name].to_numpy(dtype=np.int64) for name in ("pattern", "qs_af"))
    (k, row), (qs_af, column) = (
        (axis, np.searchsorted(axis, own))
        for own, more in zip(known, whole, strict=True)
        for axis in [np.union1d(own, np.array(more, dtype=np.int64))]
    )
    defended, decline = np.full((2, len(k), len(qs_af)), np.nan)
    allowed = np.zeros(defended.shape, dtype=np.bool_)
    defended[row, column] = lines["def_all"]
    decline[row, column] = lines["acc_dec"]
    allowed[row, column] = feasible(lines, max_decline_points=max_decline_points)
    wrong, n = (int(lines[name].iloc[0]) for name in ("n_successful", "n_adv"))
    undefended = 100 * (n - wrong) / n if n else np.nan
    return _Grid(k.tolist(), qs_af.tolist(), defended, decline, allowed, undefended)


def _border(grid: _Grid) -> Floats:
    """Edges between a feasible and an infeasible measured cell: [edges, end, (x, y)]."""
    known = ~np.isnan(grid.decline)
    beside = (grid.allowed[:, 1:] != grid.allowed[:, :-1]) & known[:, 1:] & known[:, :-1]
    above = (grid.allowed[1:] != grid.allowed[:-1]) & known[1:] & known[:-1]
    y, x = np.nonzero(beside)  # the cell left of the edge
    upright = np.stack([np.stack([x + 0.5, y - 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    y, x = np.nonzero(above)  # the cell below the edge
    level = np.stack([np.stack([x - 0.5, y + 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    return np.concatenate([upright, level])


def _draw_marks(axes: Axes, values: Floats, grid: _Grid, winner: Winner | None) -> None:
    for y, x in np.argwhere(np.isnan(values)):
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **_MISSING))
    for style in (_HALO, _BORDER):  # all of the halo first: it must not cut the line
        edges = LineCollection(list(_border(grid)), capstyle="projecting", **style)
        axes.add_collection(edges, autolim=False)
    if winner is None:
        return
    tied = winner.tied_lines[winner.tied_lines["table"] != winner.table]
    axes.plot(*_places(grid, tied["qs_af"], tied["pattern"]), label="tied", **_TIED)
    axes.plot(*_places(grid, [winner.qs_af], [winner.pattern]), label="winner", **WINNER)


def _places(grid: _Grid, qs_af: Iterable[int], k: Iterable[int]) -> tuple[list[int], list[int]]:
    """Positions of tables on the axes, x and y."""
    try:
        return [grid.qs_af.index(step) for step in qs_af], [grid.k.index(each) for each in k]
    except ValueError as missing:
        raise ValueError(
            f"expected the winner and its ties in the summary, found that {missing}.\n"
            "Hint: take both from the same rows."
        ) from None


def _label_axes(axes: Axes, grid: _Grid, bands: MeasuredBands | None) -> None:
    axes.set_xlabel("QS_AF (quantiser step of adversary-favoured coefficients)")
    every = -(-len(grid.qs_af) // _MAX_TICKS)
    axes.set_xticks(range(0, len(grid.qs_af), every), [f"{step}" for step in grid.qs_af[::every]])
    sizes = grid.k if bands is None else [bands.n_favoured[k] for k in grid.k]
    axes.set_yticks(range(len(grid.k)), [f"{size}" for size in sizes])
    axes.tick_params(length=2)


def _span(values: Floats) -> tuple[float, float]:
    """From the least to the most, in percent; the whole scale if that is no span."""
    known = values[~np.isnan(values)]
    if not known.size or known.min() == known.max():
        return 0.0, 100.0
    return float(known.min()), float(known.max())


def _draw_map(
    axes: Axes, values: Floats, *, cmap: str, limits: tuple[float, float], label: str
) -> Colorbar:
    shown = axes.imshow(values, cmap=cmap, norm=Normalize(*limits), origin="lower", aspect="auto")
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}
    beyond = bool((values < limits[0]).any()), bool((values > limits[1]).any())
    look: dict[str, Any] = {"extend": extend.get(beyond, "both"), "label": label, "pad": 0.02}
    return axes.figure.colorbar(shown, ax=axes, **look)


def _legend(
    figure: Figure,
    grid: _Grid,
    winner: Winner | None,
    limit: float,
    bands: MeasuredBands | None,
    *,
    partial: bool,
) -> None:
    border = f"feasible border: Acc_dec < {limit:g}"
    entries: list[Line2D | Patch] = [Line2D([], [], label=border, **_BORDER)]
    if winner is not None:
        name = f"winner: {of_patterns([winner.pattern], bands)}, QS_AF {winner.qs_af}"
        entries.append(Line2D([], [], label=name, **WINNER))
    if winner is not None and len(winner.tied) > 1:
        name = f"tied with it (Def, 95 %): {'at least ' * partial}{len(winner.tied) - 1}"
        entries.append(Line2D([], [], label=name, **_TIED))
    if np.isnan(grid.decline).any() or np.isnan(grid.defended).any():
        entries.append(Patch(label="ruled out before" if partial else "not measured", **_MISSING))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), frameon=False)


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
            step = str(line["table"]).removeprefix("uniform").partition("@")[0]
            axes.annotate(step, at, xytext=(4, -9), textcoords="offset points", color="C3")
        own = near[near["table"] == winner]
        axes.plot(own["acc_dec"], own["def_all"], label=f"winner: {winner}", **WINNER)
        axes.axvline(max_decline_points, color="black", linestyle=":", label="limit of Acc_dec")
        axes.set(
            xlabel="Acc_dec: accuracy lost on benign images (points)",
            ylabel="Def: accuracy on adversarial images (%)",
        )
        axes.grid(color="0.92")
        percent(axes)
        axes.set_axisbelow(True)
        handles, labels = axes.get_legend_handles_labels()
        shown = [i for i, label in enumerate(labels) if label != "winner: None"]
        axes.legend([handles[i] for i in shown], [labels[i] for i in shown], loc="best")
        titled(figure, title)
    return figure


def rate_figure(
    lines: pd.DataFrame,
    front: pd.DataFrame,
    *,
    winner: str | None,
    title: str,
    max_decline_points: float,
) -> Figure:
    """Def in percent over bits per pixel: searched tables, their front, JPEG's qualities.

    Pale: what is not feasible. `lines` are of `priced`, `front` of `rate_front`, both of
    `results.tables.rate`.
    """
    allowed = feasible(lines, max_decline_points=max_decline_points)
    searched, jpeg = lines["pattern"].notna(), lines["table"].str.startswith("jpeg")
    flat, labelled = ~searched & ~jpeg, jpeg_of(lines)
    called = sampling_of(labelled)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()

        def draw(which: Any, name: str, look: dict[str, Any]) -> None:
            if which.any():
                axes.plot(lines["bpp"][which], lines["def_all"][which], label=name, **look)

        limit = f"Acc_dec < {max_decline_points:g}"
        draw(searched & ~allowed, "searched table, infeasible", _DOT | {"color": "0.8"})
        draw(searched & allowed, f"searched table, {limit}", _DOT | {"color": "0.25"})
        if len(front):
            steps: dict[str, Any] = {"color": "C0", "drawstyle": "steps-post", "label": "front"}
            steps |= {"marker": "o", "markersize": 6, "markerfacecolor": "none"}
            axes.plot(front["bpp"], front["def_all"], **steps)
        draw(flat, "one step for all", _DOT | {"marker": "s", "color": "C2"})
        draw(jpeg & ~allowed, f"{called}, infeasible", _CROSS | {"alpha": 0.4})
        draw(jpeg & allowed, f"{called}, {limit}", _CROSS)
        for _, line in labelled.iterrows():
            at = (line["bpp"], line["def_all"])
            axes.annotate(
                f"{line['quality']}", at, xytext=(4, 4), textcoords="offset points", color="C3"
            )
        own = lines[lines["table"] == winner]
        if not own.empty:
            axes.plot(own["bpp"], own["def_all"], label=f"winner: {winner}", **WINNER)
        axes.set(
            xlabel=f"bits per pixel (mean of {lines['n_bpp'].max():.0f} benign images)",
            ylabel="Def: accuracy on adversarial images (%)",
        )
        axes.grid(color="0.92")
        percent(axes)
        axes.set_axisbelow(True)
        axes.legend(loc="best")
        titled(figure, title)
    return figure
