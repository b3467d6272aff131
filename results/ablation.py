"""Tables and colour spaces against each other, attack by attack."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from results.stats import paired_decline, wilson
from results.threats import Outcomes, cell_text

_STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 8.0, "axes.titlesize": 9.0}
_COLOURS = ("0.75", "C1", "C0", "gold", "C2")
Names = Mapping[str, tuple[str, str]]  # a defence's table and colour space


def ablation_text(found: Outcomes, names: Names) -> str:
    """Accuracies with intervals, then what table and space change, paired by image."""
    columns, width = found.columns, 16
    out = [f"{'':<24}" + "".join(f"{c.text():>{width}}" for c in columns)]
    for defence in found.defences:
        cells = [cell_text(found.right[defence, c]) for c in columns]
        out.append(f"{defence:<24}" + "".join(f"{cell:>{width}}" for cell in cells))
    out.append("points gained on the same images [95 % interval, Tango]:")
    for label, pairs in _effects(names).items():
        for first, second in pairs:
            cells = [_gain(found.right[first, c], found.right[second, c]) for c in columns]
            out.append(f"  {label} {names[second][0]}@{names[second][1]} over {first}:")
            out.append(f"{'':<24}" + "".join(f"{cell:>{width}}" for cell in cells))
    n = len(next(iter(found.right.values())))
    out.append(f"accuracy in % of {n} held-out images [95 % interval, Wilson]; gray box")
    return "\n".join(out)


def _effects(names: Names) -> dict[str, list[tuple[str, str]]]:
    tables = list(dict.fromkeys(table for table, _ in names.values()))
    spaces = list(dict.fromkeys(space for _, space in names.values()))
    by = {pair: name for name, pair in names.items()}
    return {
        "space": [(by[table, spaces[0]], by[table, spaces[1]]) for table in tables],
        "table": [(by[tables[0], space], by[tables[1], space]) for space in spaces],
    }


def _gain(before: np.ndarray, after: np.ndarray) -> str:
    won, lost = int((~before & after).sum()), int((before & ~after).sum())
    low, high = paired_decline(won, lost, len(before))
    return f"{100 * (won - lost) / len(before):+.0f} [{float(low):+.0f}, {float(high):+.0f}]"


def ablation_figure(found: Outcomes, *, title: str) -> bytes:
    """PNG: a group of bars for benign images and for each attack, a bar for each defence."""
    columns, defences = found.columns, found.defences
    places, width = np.arange(len(columns)), 0.8 / len(defences)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.subplots()
        for i, (defence, colour) in enumerate(zip(defences, _COLOURS, strict=True)):
            right = [found.right[defence, c] for c in columns]
            share = np.array([100 * r.mean() for r in right])
            low, high = wilson([int(r.sum()) for r in right], [len(r) for r in right])
            error = np.stack([share - 100 * low, 100 * high - share])
            axes.bar(
                places + (i - (len(defences) - 1) / 2) * width, share, width, label=defence,
                color=colour, yerr=error, error_kw={"elinewidth": 0.8, "ecolor": "0.2"},
            )  # fmt: skip
        axes.set_xticks(places, [c.text() for c in columns])
        n = len(next(iter(found.right.values())))
        axes.set(ylabel="accuracy (%)", ylim=(0, 100), title=f"{title}, gray box (n {n})")
        axes.legend(ncols=len(defences), loc="upper center", bbox_to_anchor=(0.5, -0.1),
                    frameon=False)  # fmt: skip
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    return picture.getvalue()
