"""How much picture a bit buys: rates, PSNR, SSIM, and what one curve saves against another."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.counts import Rows
from results.draw import STYLE, titled

SCAN, MARKED = "scan", "from the marker"
PRINTED = {  # bits per pixel, table 3.1 of the thesis
    "bls": {0.001: 0.26, 0.003: 0.52, 0.005: 0.69, 0.012: 1.08, 0.033: 1.49, 0.05: 1.63, 0.1: 1.91},
    "bmhj": {0.001: 0.22, 0.003: 0.6, 0.005: 0.93, 0.012: 1.38, 0.033: 1.99, 0.05: 2.18, 0.1: 2.64},
}
PRINTED_JPEG = {  # the same data sets; 2.77 is printed for 60 and fits 80
    "bls": {1: 0.36, 5: 0.48, 10: 0.75, 20: 1.0, 40: 1.5, 60: 1.91},
    "bmhj": {1: 0.27, 5: 0.38, 10: 0.6, 20: 0.94, 40: 1.4, 60: 2.77},
}
DATA = {"bls": "CIFAR-10", "bmhj": "Tiny ImageNet"}
N_RESAMPLES = 500
FAMILIES = ("BLS", "BMHJ", "JPEG 4:2:0", "JPEG 4:4:4", "tables")
_LEAST = 255.0**-2  # a picture without any error counts as one with a level in one value


def family(codec: str) -> str:
    """The curve that a codec lies on."""
    if ":" in codec:
        return codec.partition(":")[0].upper()
    if codec.startswith("jpeg"):
        return "JPEG 4:4:4" if codec.endswith("-444") else "JPEG 4:2:0"
    return "tables"


def measured(rows: Rows) -> Rows:
    """The rows with what a pixel costs in each reading, and the PSNR in dB."""
    n_pixels = rows["side"].astype(float) ** 2
    kinds = {
        "bpp": "bits",
        "estimated": "bits_estimated",
        "side_bpp": "bits_side",
        "marked": "bits_marked",
    }
    costs = {name: rows[bits].astype(float) / n_pixels for name, bits in kinds.items()}
    error = np.maximum(rows["sse"], _LEAST) / rows["n_values"]
    return rows.assign(**costs, psnr=-10 * np.log10(error), ssim=rows["ssim"].astype(float))


def counted(rows: Rows) -> Rows:
    """A line for each codec, by family and rate: means and deviations."""
    means = {
        name: (name, "mean") for name in ("bpp", "estimated", "side_bpp", "marked", "psnr", "ssim")
    }
    deviations = {f"{name}_sd": (name, "std") for name in ("psnr", "ssim")}
    groups = measured(rows).groupby("codec", observed=True, sort=False)
    lines = groups.agg(n=("image", "nunique"), **means, **deviations).reset_index()
    names = lines["codec"].astype(str)
    families = pd.Categorical([family(name) for name in names], FAMILIES, ordered=True)
    lines = lines.assign(codec=names, family=families)
    return lines.sort_values(["family", "bpp"], ignore_index=True)


def saved(rows: Rows, first: str, second: str, reading: str) -> dict[str, object]:
    """BD-rate: bits that family `first` saves against `second` at equal PSNR, in percent.

    The logarithm of the rate over PSNR, straight between points (three points bear no cubic),
    averaged over the PSNR that both have. The limits are of a bootstrap over images, the same for
    both, or over their groups where rows have a column `group`. NaN where no PSNR is common.
    `reading` is that of `second`.

    Source: Bjontegaard (2001), "Calculation of average PSNR differences", VCEG-M33.
    """
    own = measured(rows)
    unit = "group" if "group" in own else "image"
    curves = []
    for name, column in ((first, "bpp"), (second, "marked" if reading == MARKED else "bpp")):
        of = own[own["codec"].astype(str).map(family) == name]
        sums = of.assign(rate=of[column], n=1).pivot_table(
            index=unit, columns="codec", values=["rate", "psnr", "n"], aggfunc="sum", observed=True
        )
        curves.append([sums[value].to_numpy(dtype=float) for value in ("rate", "psnr", "n")])
    n_units = len(curves[0][0])
    drawn = np.random.default_rng(0).multinomial(n_units, [1 / n_units] * n_units, N_RESAMPLES)
    found = [
        _saved([(d @ rate / (d @ n), d @ psnr / (d @ n)) for rate, psnr, n in curves])
        for d in (np.ones(n_units), *drawn)
    ]
    value, *resampled = (f[0] for f in found)
    whole = np.isfinite(resampled).any()
    low, high = np.nanquantile(resampled, [0.025, 0.975]) if whole else (math.nan, math.nan)
    return {
        "first": first, "second": second, "reading": reading, f"n_{unit}s": n_units,
        "saved": value, "low": float(low), "high": float(high),
        "psnr_from": found[0][1], "psnr_to": found[0][2],
    }  # fmt: skip


def _saved(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Percent, and the range of PSNR that it holds for; rate and PSNR of the points of each."""
    places = [np.unique(psnr, return_index=True) for _, psnr in curves]
    low = max(float(psnr[0]) for psnr, _ in places)
    high = min(float(psnr[-1]) for psnr, _ in places)
    if low >= high or min(len(psnr) for psnr, _ in places) < 2:
        return math.nan, math.nan, math.nan
    grid = np.linspace(low, high, 257)
    logs = [
        np.interp(grid, psnr, np.log(rate[order]))
        for (rate, _), (psnr, order) in zip(curves, places, strict=True)
    ]
    return 100 * (1 - math.exp(np.trapezoid(logs[0] - logs[1], grid) / (high - low))), low, high


def nearest(lines: Rows, first: str, second: str) -> dict[str, str]:
    """For each codec of family `first` the one of `second` whose mean rate is nearest."""
    rates = lines.set_index("codec")["bpp"]
    ours, others = (rates[lines["family"].to_numpy() == name] for name in (first, second))
    return {name: str(np.log(others / rate).abs().idxmin()) for name, rate in ours.items()}


def text(lines: Rows, gains: Rows, minutes: dict[str, float], kind: str) -> str:
    """Every codec beside table 3.1 of the thesis, and what the learned ones save."""
    heads = ("bpp", "marked", "printed", "PSNR", "sd", "SSIM", "sd", "min")
    widths = (7, 8, 8, 7, 6, 7, 7, 6)

    def joined(name: str, cells: Sequence[str]) -> str:
        both = zip(cells, widths, strict=True)
        return f"{name:<22}{''.join(f'{cell:>{width}}' for cell, width in both)}".rstrip()

    said = [joined("codec", heads)]
    for _, line in lines.iterrows():
        name = line["codec"]
        numbers = [_number(line["bpp"], 3), _number(line["marked"], 3), _printed(name, kind)]
        numbers += [_number(line[column], 2) for column in ("psnr", "psnr_sd")]
        numbers += [_number(line[column], 3) for column in ("ssim", "ssim_sd")]
        numbers.append(_number(minutes.get(name, math.nan), 1))
        said.append(joined(name, numbers))
    said.append(
        "bpp: of strings and of JPEG's scan; marked: all from its marker on; printed: the thesis, "
        f"{DATA[kind]}, table 3.1; PSNR in dB, deviations over images"
    )
    learned = lines[lines["estimated"].notna()]
    over = (learned["bpp"] - learned["estimated"]).mean()
    said.append(f"strings take {over:.4f} bpp more than -log2 of the likelihood of their latents")
    if learned["side_bpp"].any():
        said[-1] += f", hyperlatents {learned['side_bpp'].mean():.3f} bpp"
    for _, gain in gains.iterrows():
        pair = f"{gain['first']} against {gain['second']} ({gain['reading']})"
        if math.isnan(gain["saved"]):
            said.append(f"{pair}: no PSNR in common")
            continue
        limits = f"[{gain['low']:.0f}, {gain['high']:.0f}]"
        between = f"{gain['psnr_from']:.1f} to {gain['psnr_to']:.1f} dB"
        said.append(f"{pair}: {gain['saved']:.0f} % of bits saved {limits}, {between}")
    return "\n".join(said)


def verdict(gains: Rows) -> str:
    """What the learned codec saves against JPEG at equal quality of the picture."""
    gain = gains.iloc[0]
    pair = f"{gain['first']} against {gain['second']}"
    if math.isnan(gain["saved"]):
        return f"{pair}: no PSNR in common"
    word, saved = ("saves", gain["saved"]) if gain["saved"] >= 0 else ("costs", -gain["saved"])
    limits = f"[{gain['low']:.0f}, {gain['high']:.0f}]"
    between = f"{gain['psnr_from']:.1f} to {gain['psnr_to']:.1f} dB"
    return f"{pair}: {word} {saved:.0f} % of the bits at equal PSNR, saved {limits}, {between}"


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _printed(codec: str, kind: str) -> str:
    name, _, rest = codec.partition(":lambda=")
    if rest:
        value = PRINTED[name].get(float(rest))
    else:
        quality = codec.removeprefix("jpeg")
        value = PRINTED_JPEG[kind].get(int(quality)) if quality.isdecimal() else None
    return "" if value is None else f"{value:g}"


def figure(lines: Rows, *, title: str) -> Figure:
    """PSNR and SSIM over the rate, bars of a deviation over images; dashed: the marked reading."""
    panels = {"psnr": "PSNR (dB)"} | ({"ssim": "SSIM"} if lines["ssim"].notna().any() else {})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1 + 3.7 * len(panels), 3.8), layout="constrained")
        for axes, (value, label) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            for i, (name, own) in enumerate(lines.groupby("family", observed=True)):
                _curve(axes, own, value, name=str(name), i=i)
            axes.set_xscale("log")
            ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
            axes.set_xlim(0.8 * lines["bpp"].min(), 1.25 * lines["bpp"].max())
            axes.set(xlabel="bits per pixel", ylabel=label)
            axes.grid(color="0.92")
        named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        names = sorted(named)  # a family's two readings beside each other
        handles = [named[name] for name in names]
        figure.legend(handles, names, loc="outside lower center", frameon=False, ncols=3)
        titled(figure, f"{title}; bars: one standard deviation over images")
    return figure


def _curve(axes: Axes, own: Rows, value: str, *, name: str, i: int) -> None:
    look: dict[str, Any] = {
        "color": f"C{i}",
        "marker": "os^D"[i % 4],
        "markersize": 4,
        "linewidth": 1.2,
    }
    line = "none" if name == "tables" else "-"
    shown = f"{name} (scan)" if own["marked"].notna().any() else name
    axes.errorbar(
        own["bpp"], own[value], yerr=own[f"{value}_sd"], label=shown, linestyle=line,
        elinewidth=0.6, capsize=2, **look,
    )  # fmt: skip
    if name.startswith("JPEG"):
        look |= {"linestyle": "--", "markerfacecolor": "white"}
        axes.plot(own["marked"], own[value], label=f"{name} ({MARKED})", **look)
