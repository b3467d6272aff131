"""Pictures side by side, a caption under each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from results.draw import STYLE, titled


@dataclass(frozen=True)
class Picture:
    """One image, [c, h, w] of 1 or 3 channels, in levels 0..255 or, floating, in [0, 1]."""

    image: np.ndarray
    caption: str = ""


def sheet(images: np.ndarray, *, low: float, high: float) -> np.ndarray:
    """Images [n, h, w] in rows as one square [1, H, W]: `low` black, `high` white, NaN between."""
    n, height, width = images.shape
    n_across = math.ceil(math.sqrt(n))
    n_down = -(-n // n_across)
    shown = np.full((n_down * n_across, height + 1, width + 1), np.nan)
    shown[:n, :height, :width] = np.clip((images - low) / (high - low), 0, 1)
    whole = shown.reshape(n_down, n_across, height + 1, width + 1).swapaxes(1, 2)
    return whole.reshape(1, n_down * (height + 1), -1)[:, :-1, :-1]


def gallery(
    rows: Sequence[Sequence[Picture]],
    *,
    heads: Sequence[str],
    title: str,
    sides: Sequence[str] = (),
    inches: float = 1.5,
) -> Figure:
    """Rows of as many pictures as there are `heads`; the title says how they were chosen.

    `sides` are the rows' names, `inches` is how large a picture is.
    """
    with mpl.rc_context(STYLE):
        size = (max(5.0, inches * len(heads)), 0.7 + (inches + 0.15) * len(rows))
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
        for axes, side in zip(places[:, 0], sides, strict=bool(sides)):
            axes.set_ylabel(side)
        titled(figure, title)
    return figure
