"""The threat table as a picture: a square per defence and attack."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from results.stats import wilson
from results.threats import Column, Outcomes

_STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 7.5, "axes.titlesize": 9.0}
_PANELS = {
    "benign, and gray box (the attack knows the undefended network)": ("none", "gray"),
    "black box (the attack knows another network)": ("black",),
    "white box (the attack goes through the whole defence); worst of all within the budget": (
        "white",
        "worst",
    ),
}


def threat_figure(found: Outcomes, marks: dict[str, list[str]], *, title: str) -> bytes:
    """PNG: accuracy (percent) and its 95 % limits, defences down, attacks across.

    Red frames are white-box figures of defences whose gradient looks masked.
    """
    panels = {
        name: [c for c in found.columns if c.threat in threats] for name, threats in _PANELS.items()
    }
    panels = {name: columns for name, columns in panels.items() if columns}
    widest, defences = max(8, *map(len, panels.values())), found.defences
    with mpl.rc_context(_STYLE):
        height = len(panels) * (1.0 + 0.34 * len(defences)) + 0.7
        figure = Figure(figsize=(2.0 + 0.86 * widest, height), layout="constrained")
        rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, (name, columns) in zip(rows, panels.items(), strict=True):
            _panel(axes, found, columns, marks)
            axes.set_xlim(-0.5, widest - 0.5)
            axes.set_title(name, loc="left")
        note = "; red: masked gradient, no lower bound" if marks else ""
        said = f"accuracy in %, 95 % interval below; budgets (eps) in 1/255{note}"
        figure.suptitle(f"{title}\n{said}", fontsize=10)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    return picture.getvalue()


def _panel(
    axes: Axes, found: Outcomes, columns: Sequence[Column], marks: dict[str, list[str]]
) -> None:
    colours = mpl.colormaps["cividis"]
    for y, defence in enumerate(found.defences):
        for x, column in enumerate(columns):
            right = found.right.get((defence, column))
            if right is None:
                continue
            share = float(right.mean())
            low, high = (100 * float(v) for v in wilson(int(right.sum()), len(right)))
            square = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colours(share), edgecolor="w")
            axes.add_patch(square)
            ink = "white" if share < 0.55 else "black"
            axes.text(x, y - 0.14, f"{100 * share:.0f}", ha="center", va="center", color=ink)
            axes.text(x, y + 0.26, f"{low:.0f}-{high:.0f}", ha="center", va="center", color=ink,
                      fontsize=5.5)  # fmt: skip
            if defence in marks and column.threat == "white":
                frame = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor="red",
                                  linewidth=1.2)  # fmt: skip
                axes.add_patch(frame)
    axes.set_xticks(range(len(columns)), [_head(c) for c in columns])
    axes.set_yticks(range(len(found.defences)), found.defences)
    axes.set_ylim(len(found.defences) - 0.5, -0.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _head(column: Column) -> str:
    if column.threat == "worst":
        return f"worst\n≤ {column.eps_255:g}"
    name, _, rest = column.text().partition(" ")
    return f"{name.replace(':', chr(10))}\n{rest}"
