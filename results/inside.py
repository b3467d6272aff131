"""Inside a small network: its layers, batch norm over many trainings, where it looks."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.counts import Rows
from results.draw import curves
from results.sheets import Picture, gallery, sheet
from results.stats import mean_interval, sign_flip
from results.words import chance, text_table

PUBLISHED = "published, one training each, best epoch: 99.14, with batch norm 99.21"
NETWORKS = {"mnist_cnn": "none", "mnist_cnn_bn": "batch norm"}
_PANELS = {"mnist_cnn": "no batch norm, trainings", "mnist_cnn_bn": "batch norm, trainings"}
_MEASURES = ("last epoch, %", "best epoch, %", "s per epoch")


def layers_text(layers: Sequence[Any]) -> str:
    """A line for each layer of `core.models.layers`, and the sums."""
    lines = [f"{'layer':<14}{'reads':>14}{'gives':>14}{'weights':>10}{'units':>9}"]
    for layer in layers:
        reads, gives = ("x".join(map(str, shape)) for shape in (layer.reads, layer.gives))
        lines.append(
            f"{layer.name:<14}{reads:>14}{gives:>14}{layer.n_weights:>10,}{layer.n_units:>9,}"
        )
    n_weights, n_units = (
        sum(getattr(x, name) for x in layers) for name in ("n_weights", "n_units")
    )
    return "\n".join([*lines, f"{'all':<42}{n_weights:>10,}{n_units:>9,}"])


def runs(rows: Rows) -> Rows:
    """Of each training: right on held-out images after the last and the best epoch, and seconds."""
    told = rows[rows["split"] == "report"].sort_values(["run", "model", "epoch"])
    by = told.groupby(["run", "model"], observed=True)
    found = pd.DataFrame(
        {
            "n": by["n_images"].last(),
            "n_last": by["n_correct"].last(),
            "n_best": by["n_correct"].max(),
            _MEASURES[2]: by["epoch_wall_s"].mean(),
        }
    ).reset_index()
    for measure, name in zip(_MEASURES, ("n_last", "n_best"), strict=False):
        found[measure] = 100 * found[name] / found["n"]
    return found.astype({"model": str})


def compared_runs(each: Rows) -> tuple[Rows, Rows]:
    """Means over trainings with Student's intervals; batch norm less none, paired by seed, and p.

    p is that of exchanging the two networks of any seeds, all ways counted.
    """
    lines, gains = [], []
    own = {model: each[each["model"] == model].set_index("run") for model in NETWORKS}
    for measure in _MEASURES:
        for model, name in NETWORKS.items():
            limits = mean_interval(own[model][measure], few=True)
            lines.append({"network": name, "measure": measure} | _limits(limits))
        plain, normed = own.values()
        limits = mean_interval(normed[measure] - plain[measure], few=True)
        gains.append({"measure": measure, "n": len(plain)} | _limits(limits))
    for gain, name in zip(gains, ("n_last", "n_best"), strict=False):
        gain["p"] = sign_flip((normed[name] - plain[name]).to_numpy(dtype=np.int64))
    return pd.DataFrame(lines), pd.DataFrame(gains)


def _limits(found: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("accuracy", "low", "high"), found, strict=True))


def _fine(line: Any) -> str:
    return f"{line['accuracy']:.2f} [{line['low']:.2f}, {line['high']:.2f}]"


def runs_text(each: Rows, lines: Rows, gains: Rows) -> str:
    """Both networks, and what batch norm gains."""
    n_runs, n = len(each) // 2, each["n"].iloc[0]
    said = [
        f"{n_runs} trainings each, {n:,} held-out images: mean [95 %, Student, over trainings]",
        text_table(lines, "network", "measure", cell=_fine),
        "batch norm less none, of equal seeds:",
    ]
    for _, gain in gains.iterrows():
        p = f"   {chance(gain)}" if gain["p"] == gain["p"] else ""
        low, high = (f"{gain[name]:+.2f}" for name in ("low", "high"))
        said.append(f"  {gain['measure']:<16}{gain['accuracy']:+.2f} [{low}, {high}]{p}")
    return "\n".join([*said, PUBLISHED])


def curves_figure(rows: Rows, *, title: str) -> Figure:
    """Error over epochs, mean of all trainings, from the least to the most."""
    rows = rows.assign(error=100 - 100 * rows["n_correct"] / rows["n_images"])
    by = rows.groupby(["model", "epoch", "split"], observed=True)["error"]
    lines = by.agg(["mean", "min", "max", "size"]).reset_index()
    lines = lines.set_axis(["model", "epoch", "split", "error", "low", "high", "n"], axis=1)
    said = {"train": "training, shifted, as weights move", "search": "validation", "report": "test"}
    lines["images"] = lines["split"].astype(str).map(said)
    lines["network"] = lines["model"].astype(str).map(_PANELS)
    lines = lines.sort_values(["network", "images", "epoch"], ascending=False)
    figure = curves(
        lines, "epoch", "images", "network", title=f"{title}\nband: all trainings", value="error"
    )
    worst = lines.loc[(lines["split"] == "report") & (lines["epoch"] >= lines["epoch"].max() / 4)]
    for axes in figure.axes:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, max(1.0, 1.5 * worst["error"].max()))
    return figure


def looked(rows: Rows, patched: Iterable[tuple[str, float]]) -> Rows:
    """For each victim and level of a patch, in percent: what share of the drop lies on ink.

    Of images that are classified right and lose probability under some patch, the mean share with
    its interval, beside the mean share of places that touch ink: what a network that looks
    everywhere alike would have.
    """
    lines = []
    for defence, fill in patched:
        own = rows[(rows["defence"] == defence) & (rows["fill_255"] == fill)]
        right = own[own["predicted"] == own["label"]]
        falls = right[right["drop"] > 0]
        share = 100 * falls["drop_on_ink"] / falls["drop"]
        places = 100 * falls["n_on_ink"] / falls["n_places"]
        found = {
            "drop on ink": mean_interval(share),
            "places on ink": mean_interval(places),
            "least p of the class": mean_interval(100 * right["least_p"]),
        }
        for measure, limits in found.items():
            line = {"defence": defence, "fill_255": fill, "measure": measure}
            lines.append(line | {"n": len(falls), "n_images": len(own)} | _limits(limits))
    return pd.DataFrame(lines)


def looked_text(lines: Rows) -> str:
    """A line for each victim and level, in percent."""
    names = zip(lines["defence"], lines["fill_255"], lines["n"], strict=True)
    shown = lines.assign(victim=[f"{name}, patch of {fill:g}, n {n}" for name, fill, n in names])
    return (
        f"{text_table(shown, 'victim', 'measure')}\n% of {lines['n_images'].iloc[0]} held-out "
        "images; n: right, and under some patch less so\n"
        "a patch of the ground's own level changes nothing but ink: its drop lies there anyhow"
    )


def verdict(gains: Rows, lines: Rows) -> str:
    """What batch norm gains, and how much of the drop under a patch lies on ink."""
    gain, shares = gains.iloc[0], lines.iloc[:2].set_index("measure")["accuracy"]
    limits = f"[{gain['low']:+.2f}, {gain['high']:+.2f}]"
    return (
        f"batch norm gains {gain['accuracy']:+.2f} {limits} points after the last epoch; "
        f"{shares['drop on ink']:.0f} % of the drop under a patch lies on ink, which "
        f"{shares['places on ink']:.0f} % of places touch"
    )


def responding(rows: Rows) -> list[tuple[int, int]]:
    """For each layer how many channels answer to some of the images, and of how many."""
    fired = rows.groupby(["layer", "channel"])["n_positive"].max() > 0
    by = fired.groupby("layer")
    return [(int(n), len(own)) for own, n in ((own, own.sum()) for _, own in by)]


def filters(weights: Sequence[np.ndarray], *, title: str) -> Figure:
    """All filters of convolutions, [out, in, h, w] each."""
    shown = []
    for i, layer in enumerate(weights):
        most = float(np.abs(layer).max())
        drawn = sheet(layer.reshape(-1, *layer.shape[2:]), low=-most, high=most)
        said = "; a row: one channel's" if i else ""
        shown.append(Picture(drawn, f"black {-most:.2f}, white {most:.2f}{said}"))
    heads = [f"layer {i}: {w.shape[0] * w.shape[1]:,} filters" for i, w in enumerate(weights, 1)]
    return gallery([shown], heads=heads, title=title, inches=4.5)


def activations(image: np.ndarray, answers: Sequence[np.ndarray], *, title: str) -> Figure:
    """An image, and what each channel of some layers answers to it, [channel, h, w] each."""
    shown = [Picture(image)]
    for answer in answers:
        most = float(answer.max())
        shown.append(Picture(sheet(answer, low=0, high=most), f"black 0, white {most:.1f}"))
    heads = ["image", *(f"layer {i}: {len(a)} channels" for i, a in enumerate(answers, 1))]
    return gallery([shown], heads=heads, title=title, inches=4.0)
