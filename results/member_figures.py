"""Members of an ensemble as pictures: accuracy by member, and member by quality."""

import io
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from results.members import SUBJECTS
from results.tables.picture import STYLE

_LEAST_RANGE = 5.0  # points of the colour scale: one image more or less is no colour
_LINE: dict[str, Any] = {"marker": "o", "markersize": 3.5, "capsize": 2, "linewidth": 1.2}


def png(figure: Figure) -> bytes:
    """The picture's file, 150 dpi: same numbers, same bytes."""
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def chain_figure(lines: pd.DataFrame, *, title: str) -> Figure:
    """Accuracy over the members, benign and adversarial, a line with intervals for each sigma."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4), layout=ConstrainedLayoutEngine(wspace=0.04))
        for axes, subject in zip(figure.subplots(1, 2), SUBJECTS, strict=True):
            part = lines[lines["subject"] == subject]
            chains = list(part.groupby("sigma_255", sort=True))
            for place, (sigma, chain) in enumerate(chains):
                shift = 0.12 * (place - (len(chains) - 1) / 2)  # intervals beside each other
                spread = [chain["acc"] - chain["acc_low"], chain["acc_high"] - chain["acc"]]
                at = [i + shift for i in range(len(chain))]
                axes.errorbar(at, chain["acc"], yerr=spread, label=f"{sigma:g}/255", **_LINE)
            axes.set_xticks(range(part["member"].nunique()), part["member"].unique())
            axes.set_xlabel("member, on images at its own quality")
            axes.set_ylabel("accuracy (%)")
            axes.set_title(f"{subject} images (n {part['n'].iloc[0]})")
            axes.grid(axis="y", color="0.9")
        axes.legend(title="noise sigma", frameon=False)
        figure.suptitle(title, fontsize=10)
    return figure


def matrix_figure(lines: pd.DataFrame, *, title: str) -> Figure:
    """Accuracy of every member (rows) on images at every quality (columns), as two maps.

    Source: "defensive quantization table" paper, figure 6.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.6), layout=ConstrainedLayoutEngine(wspace=0.04))
        for axes, subject in zip(figure.subplots(1, 2), SUBJECTS, strict=True):
            part = lines[lines["subject"] == subject]
            grid = part.pivot_table(index="member", columns="quality", values="acc", sort=False)
            _draw(axes, grid)
            axes.set_title(f"{subject} images (n {part['n'].iloc[0]}), accuracy (%)")
        figure.suptitle(title, fontsize=10)
    return figure


def _draw(axes: Axes, grid: pd.DataFrame) -> None:
    values = grid.to_numpy()
    high = values.max()
    low = min(values.min(), high - _LEAST_RANGE)
    shown = axes.imshow(values, cmap="viridis", aspect="auto", vmin=low, vmax=high)
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            dark = value < low + 0.6 * (high - low)  # of viridis, on which white is read
            axes.text(column, row, f"{value:.1f}", ha="center", va="center",
                      color="white" if dark else "black")  # fmt: skip
    axes.set_xticks(range(len(grid.columns)), grid.columns)
    axes.set_yticks(range(len(grid.index)), grid.index)
    axes.set_xlabel("quality of the images")
    axes.set_ylabel("member")
    axes.tick_params(length=0)
    assert axes.figure is not None
    axes.figure.colorbar(shown, ax=axes, pad=0.02)
