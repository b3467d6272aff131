"""Which frequencies carry the image and which the distortion: rows to deviations and a picture."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from results.draw import STYLE

COLOURS = {"R": "C3", "G": "C2", "B": "C0", "Y": "black", "Cb": "C9", "Cr": "C1"}

_SUMS = ["n_blocks", "benign", "benign_squares", "distortion", "distortion_squares"]

Map = NDArray[np.float64]


def deviations(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per split, channel, u and v: delta_b, delta_a (in levels), their ratio, u + v.

    delta_b is the standard deviation of the coefficient over all blocks of benign images, delta_a
    that of the distortion. The ratio is NaN where a coefficient never varies in benign images.

    Source: "defensive quantization table" paper, section 3.2.
    """
    once = rows.drop_duplicates(["cell_id", "channel", "u", "v"])  # two drivers may measure twice
    lines = once.groupby(["split", "channel", "u", "v"], sort=False)[_SUMS].sum().reset_index()
    for what, name in (("benign", "delta_b"), ("distortion", "delta_a")):
        mean = lines[what] / lines["n_blocks"]
        variance = lines[f"{what}_squares"] / lines["n_blocks"] - mean**2
        lines[name] = np.sqrt(variance.clip(lower=0).astype("float64"))
    lines["ratio"] = lines["delta_a"] / lines["delta_b"].where(lines["delta_b"] > 0)
    lines["diagonal"] = lines["u"] + lines["v"]
    return lines.drop(columns=_SUMS[1:])


def rank_correlation(lines: pd.DataFrame, first: str, second: str) -> float:
    """Spearman's between two columns of some lines; NaN where one of them never varies."""
    return float(lines[[first, second]].corr(method="spearman").to_numpy()[0, 1])


def ratio_map(lines: pd.DataFrame, split: str, channel: str) -> Map:
    """delta_a / delta_b as [u, v]."""
    chosen = lines[(lines["split"] == split) & (lines["channel"] == channel)]
    square = chosen.pivot_table(index="u", columns="v", values="ratio", dropna=False)
    return square.to_numpy(dtype=np.float64)


def answer_text(lines: pd.DataFrame) -> str:
    """One line per channel: how wide the ratio spans, and how it is ordered."""
    out = ["channel   delta_b   delta_a   ratio, least..most   with u + v   with held-out order"]
    for channel in lines["channel"].unique():
        own = lines[lines["channel"] == channel]
        found = own[own["split"] == "search"].set_index(["u", "v"])
        held_out = own[own["split"] == "report"].set_index(["u", "v"])
        both = found[["ratio"]].join(held_out["ratio"].rename("held_out"))
        out.append(
            f"{channel:<7} {_root_mean(found['delta_b']):9.2f} {_root_mean(found['delta_a']):9.2f}"
            f" {found['ratio'].min():12.4f}..{found['ratio'].max():<8.4f}"
            f" {rank_correlation(found, 'ratio', 'diagonal'):8.2f}"
            f" {rank_correlation(both, 'ratio', 'held_out'):15.2f}"
        )
    return "\n".join(out)


def _root_mean(deviation: "pd.Series[float]") -> float:
    """One deviation for all 64 coefficients, in levels: that of a pixel value."""
    return float(np.sqrt((deviation**2).mean()))


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
        figure.suptitle(title, fontsize=10)
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
