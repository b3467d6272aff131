"""Accuracies behind defences, and what a colour space does to a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from results.stats import wilson

_STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 8.0, "axes.titlesize": 9.0}
_LOOKS = {"rgb": ("C0", "o"), "ycbcr": ("C1", "s"), "ycbcr420": ("C2", "^")}
_NAMES = {"rgb": "RGB", "ycbcr": "YCbCr 4:4:4", "ycbcr420": "YCbCr 4:2:0"}


def accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per defence and subject: n, n_right, accuracy and its Wilson limits, in percent.

    ValueError where an image was measured twice with different predictions.
    """
    key = ["defence", "subject", "image"]
    once = rows.drop_duplicates([*key, "predicted"])
    if once.duplicated(key).any():
        raise ValueError(
            "an image was measured twice behind one defence, with different predictions.\n"
            "Hint: two machines compute differently; use one kind for a sweep."
        )
    right = once.assign(right=once["predicted"] == once["label"])
    groups = right.groupby(["defence", "subject"], sort=False)["right"]
    lines = groups.agg(n="size", n_right="sum").astype("int64").reset_index()
    low, high = wilson(lines["n_right"], lines["n"])
    lines["accuracy"] = 100 * lines["n_right"] / lines["n"]
    return lines.assign(low=100 * low, high=100 * high)


def by_space(
    lines: pd.DataFrame, names: Mapping[tuple[str, int], str]
) -> dict[str, dict[str, pd.DataFrame]]:
    """For each colour space and subject the lines in order of the step, which is the index."""
    out: dict[str, dict[str, pd.DataFrame]] = {}
    for subject in ("benign", "adversarial"):
        own = lines[lines["subject"] == subject].set_index("defence")
        for space in dict.fromkeys(space for space, _ in names):
            steps = sorted(step for s, step in names if s == space)
            chosen = own.loc[[names[space, step] for step in steps]]
            out.setdefault(space, {})[subject] = chosen.set_index(pd.Index(steps, name="step"))
    return out


def space_text(lines: pd.DataFrame, names: Mapping[tuple[str, int], str], limit: float) -> str:
    """For each space the step that defends best within the benign limit, and what it costs."""
    none: Any = lines[lines["defence"] == "none"].set_index("subject")
    without = [f"{subject} {_cell(none.loc[subject])}" for subject in ("benign", "adversarial")]
    out = [
        f"undefended: {', '.join(without)}",
        f"best step with less than {limit:g} points of benign accuracy lost:",
    ]
    for space, curves in by_space(lines, names).items():
        benign, attacked = curves["benign"], curves["adversarial"]
        lost = none.loc["benign", "n_right"] - benign["n_right"]
        allowed = attacked[100 * lost < limit * benign["n"]]
        if allowed.empty:
            out.append(f"  {_NAMES[space]:<12} none: every step loses more")
            continue
        step: Any = allowed["n_right"].idxmax()
        out.append(
            f"  {_NAMES[space]:<12} step {step:3d}: benign {_cell(benign.loc[step])}, "
            f"adversarial {_cell(attacked.loc[step])}"
        )
    return "\n".join(out)


def _cell(line: Any) -> str:
    return f"{line['accuracy']:5.1f} [{line['low']:5.1f}, {line['high']:5.1f}] %"


def space_curves(
    lines: pd.DataFrame,
    names: Mapping[tuple[str, int], str],
    *,
    title: str,
    path: Path | str | IO[bytes] | None = None,
) -> Figure:
    """Accuracy by step, adversarial and benign, and one against the other, for each space.

    Bands are 95 % Wilson intervals; dotted lines the undefended network. The same step is a
    stronger quantiser in one space than in another: the right panel compares at equal cost.

    Returns:
        The figure: axes[0] adversarial, axes[1] benign, axes[2] one against the other.
    """
    none: Any = lines[lines["defence"] == "none"].set_index("subject")["accuracy"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 3.4), layout="constrained")
        panels = figure.subplots(1, 3)
        for space, curves in by_space(lines, names).items():
            colour, marker = _LOOKS[space]
            look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3.5}
            for axes, subject in zip(panels, ("adversarial", "benign"), strict=False):
                own = curves[subject]
                axes.plot(own.index, own["accuracy"], label=_NAMES[space], linewidth=1, **look)
                axes.fill_between(own.index, own["low"], own["high"], color=colour, alpha=0.15)
            cost, gain = curves["benign"]["accuracy"], curves["adversarial"]["accuracy"]
            panels[2].plot(cost, gain, linewidth=0.7, **look)
        for axes, subject in zip(panels, ("adversarial", "benign"), strict=False):
            axes.axhline(none[subject], color="0.4", linestyle=":", linewidth=1)
            axes.set(title=subject, xlabel="step of all 64 coefficients", ylabel="accuracy (%)")
        panels[2].plot(none["benign"], none["adversarial"], "kx", label="no defence")
        panels[2].set(title="at equal cost", xlabel="benign (%)", ylabel="adversarial (%)")
        handles = [*panels[0].get_legend_handles_labels(), panels[2].get_legend_handles_labels()]
        figure.legend(
            handles[0] + handles[2][0], handles[1] + handles[2][1],
            loc="outside lower center", ncols=len(_NAMES) + 1, frameon=False,
        )  # fmt: skip
        figure.suptitle(title, fontsize=10)
        if path is not None:
            figure.savefig(path, format="png", dpi=150, metadata={"Software": None})
    return figure
