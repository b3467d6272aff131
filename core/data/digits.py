"""1797 real handwritten digits that come with scikit-learn, enlarged to 32 x 32."""

import gzip
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from core.data.arrays import ArrayData, Pool
from core.data.base import only_side
from core.data.bundled import bundled_file

SIDE = 32
N_TRAIN, N_SEARCH = 797, 600  # and the remaining 400 are for the report


def open_digits(*, side: int | None = None, seed: int = 0) -> ArrayData:
    """Gray digits in ten classes: 797 for training, 600 for search, 400 for the report.

    The 8x8 images have levels 0..16, which are spread over 0..255 before enlarging (bicubic).

    Source: scikit-learn's `load_digits` (test part of the UCI Optical Recognition set).

    Raises:
        InputError: for any side but 32.
    """
    only_side("digits", side, (SIDE,))
    table = np.loadtxt(BytesIO(gzip.decompress(_file().read_bytes())), delimiter=",")
    small = (table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    pool = Pool(
        images=np.stack([_enlarge(image) for image in small])[:, None],
        labels=table[:, -1].astype(np.int64),
    )
    order = np.random.default_rng([seed, len(small)]).permutation(len(small))
    train, search, report = np.split(order, [N_TRAIN, N_TRAIN + N_SEARCH])
    return ArrayData(
        spec="digits",
        classes=tuple("0123456789"),
        pools={"train": ("digits", pool), "search": ("digits", pool), "report": ("digits", pool)},
        picks={"train": train, "search": search, "report": report},
    )


def _file() -> Path:
    return bundled_file("sklearn", "datasets", "data", "digits.csv.gz")


def _enlarge(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
