"""Mixtures of training images that were tried, and the best on held-out images."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from results.counts import Rows
from results.draw import STYLE, percent, titled
from results.robust import ORIGINAL, Answered, gain
from results.stats import holm
from results.words import interval, moved, text_table


def reported(found: Answered) -> Rows:
    """Every set: mean accuracy on corrupted images of both splits, on clean held-out ones."""
    everywhere = np.ones(len(found.report.tests), dtype=bool)
    lines = []
    for i, training in enumerate(found.report.settings):
        line: dict[str, Any] = {"training": training, "n": int(found.report.trials.sum())}
        line["search"] = 100 * float(found.search.shares[i].mean())
        line |= found.report.line(np.full(len(everywhere), i), everywhere)
        line["clean"] = 100 * found.report.clean[:, i].sum() / line["n"]
        lines.append(line)
    return pd.DataFrame(lines)


def gains(found: Answered) -> Rows:
    """Points that the first set gains over each other on held-out images, on each corruption.

    All severities; first of all corruptions together. p corrected for all lines (Holm).
    """
    told, lines = found.report, []
    corruptions = np.array(told.corruptions)
    panels = {"all": np.ones(len(corruptions), dtype=bool)}
    panels |= {name: corruptions == name for name in dict.fromkeys(corruptions.tolist())}
    for i, training in enumerate(told.settings[1:], start=1):
        change = told.hits[:, 0] - told.hits[:, i]
        for corruption, of in panels.items():
            line = {"over": training, "corruption": corruption, "n": int(told.trials.sum())}
            lines.append(line | gain(change[:, of], told.trials))
    gained = pd.DataFrame(lines)
    return gained.assign(p=holm(gained["p"])) if lines else gained


def text(trials: Rows, lines: Rows, gained: Rows, importances: Mapping[str, float]) -> str:
    """The best trials, the best one beside other sets, what it gains, what mattered."""
    best = trials.sort_values("corrupted", ascending=False, kind="stable").head(5)
    said = [f"{len(trials)} mixtures tried; corrupted search images right, clean ones, %"]
    said += [
        f"{line['corrupted']:5.1f}  {line['clean']:5.1f}  {line['training']}"
        for _, line in best.iterrows()
    ]
    if importances:
        said.append("of the variance: " + ", ".join(f"{k} {v:.0%}" for k, v in importances.items()))
    n = lines["n"].iloc[0]
    said += ["", f"mean over all corruptions, %: search; {n} held-out images [95 %]; clean ones"]
    said += [
        f"{line['search']:5.1f}  {interval(line)}  {line['clean']:5.1f}  {line['training']}"
        for _, line in lines.iterrows()
    ]
    if gained.empty:
        return "\n".join(said)
    head = "points that the best mixture gains over others on the same held-out images"
    said += ["", f"{head} (p: exchange of images or groups, Holm's of {len(gained)})"]
    return "\n".join([*said, text_table(gained, "corruption", "over", cell=moved)])


def verdict(trials: Rows, lines: Rows) -> str:
    """The best mixture on corrupted held-out images, beside the best of the other sets."""
    own, others = lines.iloc[0], lines.iloc[1:].sort_values("accuracy", kind="stable")
    said = f"{own['training']}: {own['accuracy']:.1f} % of corrupted images right, held out"
    if not others.empty:
        other = others.iloc[-1]
        said += f", {_name(other['training'])} {other['accuracy']:.1f} %"
    return f"{said}; the best of {len(trials)} mixtures, chosen on search images"


def figure(trials: Rows, lines: Rows, *, title: str) -> Figure:
    """Corrupted search images right, trial by trial and over the share of images as they are."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        left.plot(trials["number"], trials["corrupted"], "o", color="#0072B2", label="a mixture")
        left.plot(
            trials["number"], trials["corrupted"].cummax(), color="#0072B2", linewidth=1,
            drawstyle="steps-post", label="the best so far",
        )  # fmt: skip
        right.plot(trials["plain"], trials["corrupted"], "o", color="#0072B2")
        others = lines.iloc[1:]
        for i, (_, line) in enumerate(others.iterrows()):
            look = {"color": ("0.1", "#D55E00", "#009E73", "#CC79A7")[i % 4], "linewidth": 0.9}
            look |= {"linestyle": (":", "--", "-.")[i % 3]}
            left.axhline(line["search"], label=_name(line["training"]), **look)
            right.axhline(line["search"], **look)
        left.set(xlabel="trial", ylabel="corrupted search images right (%)")
        right.set(xlabel="images as they are (% of the training images)")
        for axes in (left, right):
            axes.grid(axis="y", color="0.92")
        percent(left)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
        titled(figure, title)
    return figure


def _name(training: str) -> str:
    return "originals" if training == ORIGINAL else training
