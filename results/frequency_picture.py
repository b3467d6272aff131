"""Which frequencies carry the image and which the distortion, as a picture."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from results.draw import STYLE, titled
from results.frequency import Map, ratio_map

COLOURS = {"R": "C3", "G": "C2", "B": "C0", "Y": "black", "Cb": "C9", "Cr": "C1"}


def spectra(lines: pd.DataFrame, *, title: str) -> Figure:
    """Deviations by frequency of benign images and of distortion, and a map of their ratio.

    The curves run along the zigzag of JPEG, from DC to the highest frequency. Maps share one
    logarithmic scale, so that channels compare. All from the split "search". Axes 0 and 1 hold the
    curves, one map per channel follows.
    """
    found = lines[lines["split"] == "search"]
    channels = list(found["channel"].unique())
    maps = {channel: ratio_map(lines, "search", channel) for channel in channels}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5.2 if len(maps) > 1 else 2.9), layout="constrained")
        half = len(channels) // 2  # a single map stands beside its curves, others below them
        rows = [["delta_b"] * half + ["delta_a"] * half, channels]
        axes = figure.subplot_mosaic(rows if half else [["delta_b", "delta_a", *channels]])
        for column, name in (("delta_b", "benign images"), ("delta_a", "distortion")):
            for channel in channels:
                own = found[found["channel"] == channel].set_index(["u", "v"])[column]
                curve = [own[place] for place in zigzag()]
                axes[column].plot(curve, label=channel, color=COLOURS[channel], linewidth=1.1)
            axes[column].set(yscale="log", title=name, xlabel="coefficient, in zigzag order")
            axes[column].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes[column].yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes[column].yaxis.set_minor_formatter(NullFormatter())
        axes["delta_b"].set_ylabel("standard deviation (levels)")
        if len(channels) > 1:
            axes["delta_b"].legend(ncols=2, frameon=False)
        _draw_maps(figure, [axes[channel] for channel in channels], maps)
        titled(figure, title)
    return figure


def _draw_maps(figure: Figure, places: list[Axes], maps: dict[str, Map]) -> None:
    """On one scale, unmeasured ratios left white."""
    positive = np.concatenate([each[each > 0] for each in maps.values()])
    norm = LogNorm(positive.min(), positive.max()) if positive.size else None
    for axes, (channel, ratio) in zip(places, maps.items(), strict=True):
        shown = axes.imshow(ratio, cmap="viridis", norm=norm)
        axes.set(title=channel, xlabel="v", xticks=range(8), yticks=range(8))
        axes.tick_params(length=2)
    places[0].set_ylabel("u")
    ticks = LogLocator(subs=(1, 2, 5))
    bar = figure.colorbar(shown, ax=places, pad=0.02, format="%g", ticks=ticks)
    bar.set_label("delta_a / delta_b")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())


def zigzag() -> list[tuple[int, int]]:
    """(u, v) from DC to the highest frequency. Source: ITU-T T.81 (1992), figure 5."""
    places = [(u, v) for u in range(8) for v in range(8)]
    return sorted(places, key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))
