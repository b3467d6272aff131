"""Accuracy of networks over what their training images cost, and over their own weights."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.compressed import TESTS, changed, tested_on
from results.counts import Rows
from results.draw import STYLE, percent, titled
from results.robust import ORIGINAL, family_of
from results.robust_picture import COLOURS, LOOKS, short

BELOW: dict[str, Any] = {"loc": "outside lower center", "ncols": 6, "frameon": False}


def over_quality(lines: Rows, measured: Rows, *, title: str) -> Figure:
    """Accuracy on images as they are over rate, PSNR and SSIM of the training images.

    A row of panels for each network; originals are a dotted line. Bars: least to most of runs.
    """
    own = tested_on(lines, "original")
    networks = list(dict.fromkeys(own["network"]))
    axes_of = {"bpp": "rate (bits per pixel)", "psnr": "PSNR (dB)", "ssim": "SSIM"}
    axes_of = {name: label for name, label in axes_of.items() if measured[name].notna().any()}
    known = measured.set_index("transform")
    with mpl.rc_context(STYLE):
        size = (2.9 * max(2, len(axes_of)), 0.8 + 2.4 * len(networks))
        figure = Figure(figsize=size, layout="constrained")
        places = figure.subplots(len(networks), max(1, len(axes_of)), squeeze=False, sharey="row")
        for line, network in zip(places, networks, strict=True):
            of = own[own["network"] == network]
            for axes, (name, label) in zip(line, axes_of.items(), strict=False):
                _panel(axes, of, {str(k): float(v) for k, v in known[name].items()})
                axes.set(xlabel=label, title=f"{network} (n {of['n'].iloc[0]})")
            line[0].set_ylabel("accuracy (%)")
        for axes in places[:, 0]:  # whose scale all of its row have
            percent(axes)
        drawn = [axes.get_legend_handles_labels() for axes in figure.axes]
        named = {label: handle for own in drawn for handle, label in zip(*own, strict=True)}
        figure.legend(list(named.values()), list(named), **BELOW)
        titled(figure, title)
    return figure


def _panel(axes: Axes, of: Rows, known: Mapping[str, float]) -> None:
    plain = of[of["training"] == ORIGINAL]
    if len(plain):
        axes.axhline(plain["last"].iloc[0], color="0.1", linestyle=":", label="originals")
    at = of["training"].map(known)
    families = of["training"].map(family_of)
    for family in dict.fromkeys(families[at.notna()]):
        each = of[families == family].assign(at=at).dropna(subset=["at"]).sort_values("at")
        error = [each["last"] - each["low"], each["high"] - each["last"]]
        look = {"markersize": 4, "linewidth": 1, "capsize": 2} | LOOKS[family] | {"label": family}
        axes.errorbar(each["at"], each["last"], yerr=error, **look)
        for i, (_, line) in enumerate(each.iterrows()):
            axes.annotate(
                short(line["training"]), (line["at"], line["last"]), xytext=(4, 4 if i % 2 else -8),
                textcoords="offset points", fontsize=6, color="0.3",
            )  # fmt: skip
    axes.margins(x=0.2, y=0.15)
    axes.grid(axis="y", color="0.92")


def over_networks(lines: Rows, weights: Mapping[str, int], *, test: str, title: str) -> Figure:
    """Accuracy, and its percent change against the first network, over the networks' weights."""
    own = changed(lines, test)
    own = own.assign(weights=own["network"].map(weights))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        ordered = own.sort_values("weights", kind="stable")
        for i, training in enumerate(dict.fromkeys(own["training"])):
            each = ordered[ordered["training"] == training]
            look: dict[str, Any] = {"marker": "os^Dv<>"[i % 7], "markersize": 4, "linewidth": 1}
            look |= {"color": COLOURS[i % len(COLOURS)], "label": str(training)}
            left.plot(each["weights"], each["last"], **look)
            limits = each["weights"], each["low"], each["high"]
            left.fill_between(*limits, color=look["color"], alpha=0.12)
            right.plot(each["weights"], each["change"], **look)
        names = ", ".join(f"{k} {v:,}" for k, v in weights.items())
        ticks = sorted(set(own["weights"]))
        for axes, label in ((left, "accuracy (%)"), (right, "change of accuracy (%)")):
            axes.set(xlabel="weights, in thousands", ylabel=label, xscale="log")
            axes.set_xticks(ticks, [f"{n / 1000:,.0f}" for n in ticks])
            axes.set_xticks([], minor=True)
            axes.grid(color="0.92")
        percent(left)
        figure.legend(*left.get_legend_handles_labels(), **BELOW)
        figure.suptitle(f"{title}, tested on images {TESTS[test]}\n{names}", fontsize=8)
    return figure
