"""Images made for a class: whether they carry it, for whom, and how near they are to another."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from results.counts import Rows, shares
from results.draw import STYLE
from results.words import text_table

PUBLISHED = "published: one image of each class, p 1; 10 towards 5, all of which reach it"


def counted(rows: Rows) -> Rows:
    """In percent, for each network and beta: images of which class they were made for.

    `reached`: the network sees it, at 8 bits; `agreed`: so does the judge; `kept`: the judge sees
    the class of the image that it was held near. `psnr_db` is the mean.
    """
    rows = rows.assign(
        network=rows["network"].astype(str),
        made=np.where(rows["source"] < 0, "free", rows["beta"].map("beta {:g}".format)),
        reached=rows["predicted"] == rows["target"],
        agreed=rows["judged"] == rows["target"],
        kept=rows["judged"] == rows["source"],
        psnr_db=-10 * np.log10((rows["sse"] / rows["n_values"]).clip(lower=1e-12)),
    )
    rows = rows.sort_values(["network", "source", "beta", "target"], kind="stable")
    by = ["network", "made"]
    parts = [
        shares(rows, event, by).rename(columns={event: "accuracy"}).assign(what=event)
        for event in ("reached", "agreed", "kept")
    ]
    psnr = rows.groupby(by)["psnr_db"].mean().rename("psnr_db").reset_index()
    return pd.concat(parts, ignore_index=True).merge(psnr, on=by, how="left")


def nearest(rows: Rows) -> Rows:
    """Of each network and pair the image that reaches its target nearest to the source."""
    held = rows[(rows["source"] >= 0) & (rows["predicted"] == rows["target"])]
    held = held.sort_values("sse", kind="stable")
    by = ["network", "source", "target"]
    found = held.groupby(by, sort=True, observed=True).head(1).astype({"network": str})
    return found.assign(psnr_db=-10 * np.log10(found["sse"] / found["n_values"]))


def text(rows: Rows, lines: Rows, near: Rows) -> str:
    """Both tables and what is reached over all pairs."""
    free = lines["made"] == "free"
    shown = lines[~(free & (lines["what"] == "kept"))]
    names = zip(shown["network"], shown["made"], shown["psnr_db"], strict=True)
    shown = shown.assign(
        images=[f"{n}, {m}" + (f", {db:.1f} dB" if m != "free" else "") for n, m, db in names]
    )
    said = [text_table(shown, "images", "what")]
    said.append(
        f"% of {shown['n'].min()} to {shown['n'].max()} images of 8 bits; reached: the network sees"
        " the class; agreed: so does another network; kept: that one sees the source's class; "
        "free: from noise, held near none"
    )
    for network, own in rows.astype({"network": str}).groupby("network", sort=False):
        alone, best = own[own["source"] < 0], near[near["network"] == network]
        n_pairs = len(own[own["source"] >= 0].drop_duplicates(["source", "target"]))
        low, median, high = best["psnr_db"].quantile([0, 0.5, 1])
        said.append(
            f"{network}: p {alone['p'].min():.3f} to {alone['p'].max():.3f}, logit "
            f"{alone['first_logit'].mean():.1f} to {alone['logit'].mean():.1f}; {len(best)} of "
            f"{n_pairs} pairs reached, the nearest {low:.1f}, {median:.1f}, {high:.1f} dB (least, "
            "median, most)"
        )
    return "\n".join([*said, PUBLISHED])


def verdict(rows: Rows, lines: Rows, near: Rows) -> str:
    """Of the first network: images made from noise, and pairs of classes that are reached."""
    network = str(lines["network"].iloc[0])
    own = lines[(lines["network"] == network) & (lines["made"] == "free")].set_index("what")
    reached, agreed = (float(own["accuracy"][what]) for what in ("reached", "agreed"))
    held = rows[(rows["network"].astype(str) == network) & (rows["source"] >= 0)]
    n_pairs = len(held.drop_duplicates(["source", "target"]))
    best = near[near["network"] == network]["psnr_db"]
    median = f" at a median of {best.median():.0f} dB" if len(best) else ""
    return (
        f"made from noise, {reached:.0f} % of images are seen as their class by the network, "
        f"{agreed:.0f} % by another one; near another class {len(best)} of {n_pairs} pairs are "
        f"reached{median}"
    )


def logits(curves: Mapping[str, Sequence[np.ndarray]], *, title: str) -> Figure:
    """The logit of each class over the steps, a panel for each network; [steps] a curve."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(curves), 3.2), layout="constrained")
        panels = figure.subplots(1, len(curves), squeeze=False)[0]
        for axes, (network, own) in zip(panels, curves.items(), strict=True):
            for k, curve in enumerate(own):
                axes.plot(curve, linewidth=1, color=f"C{k % 10}", label=str(k))
            axes.set(title=network, xlabel="step", ylabel="logit of the class")
            axes.grid(axis="y", color="0.92")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, title="class", ncols=10, loc="outside lower center", frameon=False
        )
        figure.suptitle(title, fontsize=9)
    return figure
