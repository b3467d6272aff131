"""How many images one change fools: shares, their table and their curves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from results.counts import Rows, shares
from results.draw import curves
from results.words import text_table

PUBLISHED = "published: 65.2 % fooled on CIFAR-10's training set; norm, xi and n are not given"
SPLITS = {"search": "made from", "report": "held out"}
_ORDER = ["xi_255", "made_from", "change", "images"]


def counted(rows: Rows) -> Rows:
    """In percent, for each change, defence and split, of images: fooled, wrong, wrong before.

    Fooled: the predicted class is another than without the change; wrong: another than the label.
    """
    kind = rows["n_together"].map(lambda n: f"deepfool {n}" if n else "random")
    kind += np.where(rows["through"] == "", "", " through " + rows["through"])
    behind = rows["defence"].astype(str)
    rows = rows.assign(
        change=kind + np.where(behind == "none", "", ", " + behind),
        images=rows["split"].astype(str).map(SPLITS),
        made_from=rows["n_images"],
        fooled=rows["clean"] != rows["perturbed"],
        wrong=rows["label"] != rows["perturbed"],
        wrong_before=rows["label"] != rows["clean"],
    )
    lines, *others = (shares(rows, event, _ORDER) for event in ("fooled", "wrong", "wrong_before"))
    for name, other in zip(("wrong", "wrong_before"), others, strict=True):
        lines[[name, f"{name}_low", f"{name}_high"]] = other[[name, "low", "high"]]
    return lines.sort_values(_ORDER, ascending=[True, True, True, False])


def text(lines: Rows) -> str:
    """A line for each change; says so where the network is wrong on most images without any."""
    held_out = lines[lines["images"] == SPLITS["report"]]
    wrong = [_renamed(held_out, name) for name in ("wrong", "wrong_before")]
    shown = pd.concat([lines.assign(what="fooled", accuracy=lines["fooled"]), *wrong])
    each = zip(shown["xi_255"], shown["made_from"], shown["change"], strict=True)
    shown["% of images"] = [f"xi {xi:g}, from {n}: {change}" for xi, n, change in each]
    n = held_out["n"].iloc[0]
    shown["head"] = shown["images"] + ": " + shown["what"]
    said = [
        text_table(shown, "% of images", "head"),
        f"{n} images held out; deepfool 32: 32 images moved at a time, 1 in the source",
        PUBLISHED,
    ]
    if (lines["wrong_before"] > 50).any():
        said.append("! the network is wrong on most images as they are: fooling it says little")
    return "\n".join(said)


def verdict(lines: Rows) -> str:
    """What the largest change fools of held-out images, beside a random one, by defence."""
    own = lines[(lines["images"] == SPLITS["report"]) & (lines["xi_255"] == lines["xi_255"].max())]
    own = own[own["made_from"] == own["made_from"].max()]
    said = ", ".join(f"{line['change']} {line['fooled']:.1f} %" for _, line in own.iterrows())
    return f"one change within {own['xi_255'].iloc[0]:g}/255 fools of held-out images: {said}"


def _renamed(lines: Rows, name: str) -> Rows:
    values = {"accuracy": lines[name], "low": lines[f"{name}_low"], "high": lines[f"{name}_high"]}
    return lines.assign(what=name.replace("_", " "), **values)


def figures(lines: Rows, *, xi_255: float, n_images: int, title: str) -> Mapping[str, Figure]:
    """Fooled over size, made from `n_images`, and over the number of images, at size `xi_255`."""
    shown = {
        "xi_255": (lines["made_from"] == n_images, f"made from {n_images} images", "xi (1/255)"),
        "made_from": (lines["xi_255"] == xi_255, f"xi {xi_255:g}/255", "images it is made from"),
    }
    return {
        f"universal_{x}": curves(
            lines[own],
            x,
            "change",
            "images",
            title=f"{title}, {fixed}",
            xlabel=xlabel,
            value="fooled",
        )
        for x, (own, fixed, xlabel) in shown.items()
    }
