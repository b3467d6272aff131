"""Mean spectra of images after transforms, as cells."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from core.spectrum import log_spectra
from results import schema
from search.engine.study import Place, Study
from search.inputs.networks import Source
from search.measures.transformed import Cell, Sources, images_after


@dataclass(frozen=True, kw_only=True)
class Row:
    """One frequency; cycles in the image's height and width, negative ones too."""

    u: int  # cycles from top to bottom
    v: int  # cycles from left to right
    sum_log: float  # of log(1 + |DFT|) of luma in levels, over the cell's images
    n_images: int


def study(source: Source) -> Study[Cell, Place]:
    """Spectra of a source's images."""
    how = partial(_evaluate, source)
    return Study("augmentation_spectrum", 1, Cell, Row, _here, how, n_rows=lambda c: c.side**2)


def _here(_: Cell, place: Place) -> Place:
    return place


def _evaluate(source: Source, cell: Cell, place: Place) -> schema.Columns:
    total = log_spectra(images_after(source, Sources(), cell, place.bank)[1]).sum(0).numpy()
    height, width = total.shape
    u, v = np.meshgrid(
        np.arange(height) - height // 2, np.arange(width) - width // 2, indexing="ij"
    )
    return {
        "u": u.ravel(),
        "v": v.ravel(),
        "sum_log": total.ravel(),
        "n_images": np.full(total.size, cell.count),
    }
