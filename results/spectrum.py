"""Mean spectra of images after transforms: which frequencies are left."""

import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from results.counts import Rows
from results.draw import STYLE, titled

N_ACROSS = 4
BANDS = 4  # of equal width, from the constant part to half the sampling rate
_MEANT = "mean log(1 + |DFT|), the largest 1"


def means(rows: Rows, sets: Sequence[str]) -> Rows:
    """Mean log magnitude of every transform and frequency, and that over the transform's largest.

    In the order of `sets`; `radius` is in shares of half the sampling rate.
    """
    by = rows.assign(place=rows["transform"].map({name: i for i, name in enumerate(sets)}))
    by = by.astype({"transform": str, "place": int})
    names = ["place", "transform", "u", "v"]
    sums = by.groupby(names)[["sum_log", "n_images"]].sum().reset_index().drop(columns="place")
    mean = sums["sum_log"] / sums["n_images"]
    largest = mean.groupby(sums["transform"], sort=False).transform("max")
    radius = np.hypot(sums["u"], sums["v"]) / max(1, -int(rows["u"].min()))
    return sums.assign(mean=mean, normalised=mean / largest, radius=radius)


def bands(lines: Rows) -> Rows:
    """Mean normalised magnitude in bands of frequency, corners left out."""
    inside = lines[(lines["radius"] > 0) & (lines["radius"] <= 1)]
    band = np.ceil(inside["radius"] * BANDS).astype(int)
    by = inside.assign(band=band).groupby(["transform", "band"], sort=False, observed=True)
    return by["normalised"].mean().reset_index().sort_values("band", kind="stable")


def text(lines: Rows) -> str:
    """A line for each transform, a column for each band."""
    found = bands(lines)
    names = list(dict.fromkeys(found["transform"]))
    table = found.pivot_table(index="transform", columns="band", values="normalised").loc[names]
    n = int(lines["n_images"].max())
    limits = "".join(f"{f'to {band / BANDS:.2f}':>9}" for band in range(1, BANDS + 1))
    said = [f"mean of log(1 + |DFT|) of luma over {n:,} training images, over its "]
    said[0] += "largest value; frequencies as shares of half the sampling rate"
    said += [f"{'of the frequency':<16}{limits}"]
    for name, line in table.iterrows():
        said.append(f"{name:<16}" + "".join(f"{value:9.3f}" for value in line))
    return "\n".join(said)


def verdict(lines: Rows) -> str:
    """How much of the highest frequencies each transform leaves."""
    found = bands(lines)
    high = found[found["band"] == found["band"].max()].set_index("transform")["normalised"]
    high = high.sort_values(ascending=False, kind="stable")
    said = ", ".join(f"{name} {value:.2f}" for name, value in high.items())
    return f"highest quarter of frequencies, mean log magnitude (the largest 1): {said}"


def _grid(own: Rows) -> NDArray[np.float64]:
    return own.pivot_table(index="u", columns="v", values="normalised").to_numpy(dtype=np.float64)


def figure(lines: Rows, *, title: str) -> Figure:
    """A map for each transform, all in one scale, and the mean over radius of all."""
    names = list(dict.fromkeys(lines["transform"]))
    n_across = min(N_ACROSS, len(names))
    n_down = math.ceil(len(names) / n_across)
    with mpl.rc_context(STYLE):
        size = (2.1 * n_across + 3.6, max(3.0, 0.7 + 2.2 * n_down))
        whole = Figure(figsize=size, layout="constrained")
        halves = whole.subfigures(1, 2, width_ratios=(2.1 * n_across, 3.4), squeeze=False)
        left, right = halves[0]
        places = list(left.subplots(n_down, n_across, squeeze=False).flat)
        low = float(lines["normalised"].min())
        for axes, name in zip(places, names, strict=False):
            grid = _grid(lines[lines["transform"] == name])
            half = len(grid) / 2
            end = half - 0.5  # a place lies around its frequency
            box = (-half - 0.5, end, end, -half - 0.5)
            shown = axes.imshow(grid, cmap="viridis", vmin=low, vmax=1, extent=box)
            axes.set_title(name)
            axes.set(xticks=[-half, 0, half - 1], yticks=[-half, 0, half - 1])
        for axes in places[len(names) :]:
            axes.set_axis_off()
        left.supxlabel("cycles a picture, across and down", fontsize=8)
        left.colorbar(shown, ax=places, shrink=0.7, label=_MEANT)
        profile = right.subplots()
        for i, name in enumerate(names):
            own = lines[(lines["transform"] == name) & (lines["radius"] <= 1)]
            ring = own.assign(ring=np.round(own["radius"], 1)).groupby("ring")["normalised"].mean()
            look = {"marker": "os^Dv<>"[i % 7], "markersize": 3.5, "linewidth": 1}
            profile.plot(ring.index, ring, label=name, color=f"C{i % 10}", **look)
        profile.set(xlabel="frequency (of half the sampling rate)", ylabel=_MEANT)
        profile.grid(color="0.92")
        profile.legend(frameon=False)
        titled(whole, title)
    return whole
