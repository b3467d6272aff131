"""How much of the noise is taken out: PSNR, and what skip connections are worth."""

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.counts import Rows
from results.draw import STYLE, titled
from results.stats import mean_interval

PUBLISHED = {
    "not clipped": "20.00 sd 0.11",
    "skips both": "28.43 sd 1.27",
    "skips none": "28.17 sd 1.23",
}
WAYS = (
    *("not clipped", "noisy", "total variation", "non-local means"),
    *("skips both", "skips block", "skips global", "skips none"),
)
TARGET_DB = 20.0


def psnrs(rows: Rows) -> Rows:
    """The rows with the PSNR of each image, in dB."""
    way = pd.Categorical(rows["way"].astype(str), WAYS, ordered=True)
    return rows.assign(way=way, psnr=-10 * np.log10(rows["sse"] / rows["n_values"]))


def counted(rows: Rows) -> Rows:
    """Mean and deviation over images for each way and noise, of all runs; each run's mean."""
    groups = psnrs(rows).groupby(["sigma", "way"], observed=True)
    lines = groups.agg(n=("image", "nunique"), mean=("psnr", "mean"), sd=("psnr", "std"))
    return lines.assign(runs=groups[["run", "psnr"]].apply(_runs)).reset_index()


def _runs(own: Rows) -> str:
    return " ".join(f"{mean:.2f}" for mean in own.groupby("run")["psnr"].mean())


def differences(rows: Rows, sigma: float) -> Rows:
    """In dB on the same images, runs averaged: each way minus no skips, with its interval.

    Where rows have a column `group`, a group of images is one observation. Empty where there are
    no networks without skips.
    """
    own = psnrs(rows[rows["sigma"] == sigma])
    unit = "group" if "group" in own else "image"
    means = own.pivot_table(index=unit, columns="way", values="psnr", observed=True)
    lines = [
        (way, len(means), *mean_interval(means[way] - means["skips none"]))
        for way in means
        if "skips none" in means and way != "skips none"
    ]
    return pd.DataFrame(lines, columns=["way", f"n_{unit}s", "difference", "low", "high"])


def calibrated(lines: Rows) -> float:
    """The deviation at which clipped noise has a mean PSNR of 20 dB, between those measured."""
    noisy = lines[lines["way"] == "noisy"].sort_values("mean")
    log = np.interp(TARGET_DB, noisy["mean"], np.log(noisy["sigma"]), math.nan, math.nan)
    return math.exp(log)


def text(lines: Rows, apart: Rows, sigma: float) -> str:
    """Every way at the noise trained for, and differences."""
    own = lines[lines["sigma"] == sigma]
    said = [f"PSNR in dB of {own['n'].iloc[0]} images at sigma {sigma:g}: mean, sd over images"]
    for _, line in own.iterrows():
        runs = f"runs {line['runs']}" if " " in line["runs"] else ""
        known = f"published {PUBLISHED[line['way']]}" if line["way"] in PUBLISHED else ""
        words = f"  {line['way']:<16}{line['mean']:6.2f} sd {line['sd']:4.2f}  {known:<24}{runs}"
        said.append(words.rstrip())
    said.append(f"noise of 20 dB once clipped has sigma {calibrated(lines):.3f}")
    for _, line in apart[apart["way"].str.startswith("skips")].iterrows():
        unit, n = apart.columns[1].removeprefix("n_"), line.iloc[1]
        said.append(
            f"{line['way']} minus none: {line['difference']:+.2f} "
            f"[{line['low']:+.2f}, {line['high']:+.2f}] dB over {n} {unit}, runs averaged"
        )
    return "\n".join(said)


def verdict(lines: Rows, apart: Rows, sigma: float) -> str:
    """The best network at the noise trained for, and what its skip connections are worth."""
    own = lines[lines["sigma"] == sigma].set_index("way")["mean"]
    skips = own[own.index.str.startswith("skips")].sort_values(kind="stable")
    said = f"{skips.index[-1]}: {own['noisy']:.1f} to {skips.iloc[-1]:.1f} dB"
    for _, line in apart[apart["way"] == skips.index[-1]].iterrows():
        said += (
            f", {line['difference']:+.2f} [{line['low']:+.2f}, {line['high']:+.2f}] dB over none"
        )
    return f"{said}, held out at sigma {sigma:g}"


def figure(rows: Rows, training: Rows, sigma: float, *, title: str) -> Figure:
    """Each way's PSNR over images, and beside it the epochs of training, where there are some."""
    own = psnrs(rows[rows["sigma"] == sigma])
    n_panels = 1 + (training["epoch"].max() > 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.5 + 3.5 * n_panels, 3.2), layout="constrained")
        left, *more = figure.subplots(1, n_panels, squeeze=False)[0]
        ways = {str(way): each["psnr"] for way, each in own.groupby("way", observed=True)}
        left.boxplot(list(ways.values())[::-1], orientation="horizontal", sym=".", widths=0.6)
        left.set_yticks(range(1, len(ways) + 1), list(ways)[::-1])
        left.set(xlabel="PSNR (dB): quartiles", title=f"n {own['image'].nunique()}, held out")
        for axes in more:
            _training(axes, training)
        titled(figure, f"{title}, sigma {sigma:g}")
    return figure


def _training(axes: Axes, training: Rows) -> None:
    for (skips, number), run in training.groupby(["skips", "run"], sort=False, observed=True):
        colour, label = f"C{WAYS.index(f'skips {skips}')}", None if number else str(skips)
        axes.plot(run["epoch"], -10 * np.log10(run["loss"]), color=colour, linewidth=1, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(title="skips", frameon=False)
    axes.set(xlabel="epoch", ylabel="PSNR of the mean error (dB)", title="training")
