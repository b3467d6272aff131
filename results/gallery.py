"""Pictures side by side, a caption under each."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from results.draw import STYLE


@dataclass(frozen=True)
class Picture:
    """One image, [c, h, w] of 1 or 3 channels, in levels 0..255 or, floating, in [0, 1]."""

    image: np.ndarray
    caption: str = ""


def gallery(rows: Sequence[Sequence[Picture]], *, heads: Sequence[str], title: str) -> Figure:
    """Rows of as many pictures as there are `heads`; the title says how they were chosen."""
    with mpl.rc_context(STYLE):
        size = (max(5.0, 1.5 * len(heads)), 0.7 + 1.65 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        places = figure.subplots(len(rows), len(heads), squeeze=False)
        for line, pictures in zip(places, rows, strict=True):
            for axes, picture in zip(line, pictures, strict=True):
                shown = np.moveaxis(picture.image, 0, -1)
                gray = {"cmap": "gray", "vmin": 0, "vmax": 255 if shown.dtype == np.uint8 else 1}
                axes.imshow(shown.squeeze(), interpolation="nearest", **gray)
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(picture.caption, fontsize=7)
        for axes, head in zip(places[0], heads, strict=True):
            axes.set_title(head)
        figure.suptitle(title, fontsize=9)
    return figure
