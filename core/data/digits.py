"""1797 real handwritten digits that come with scikit-learn, enlarged to 32 x 32."""

import numpy as np
from PIL import Image

from core.data.arrays import ArrayData, Pool
from core.data.base import SPLITS, only_side
from core.data.bundled import bundled_file

DIGITS = ("sklearn", "datasets", "data", "digits.csv.gz")
SIDE = 32
N_TRAIN, N_SEARCH = 797, 600  # and the remaining 400 are for the report


def open_digits(*, side: int | None = None, seed: int = 0) -> ArrayData:
    """Gray digits in ten classes: 797 for training, 600 for search, 400 for the report.

    The 8x8 images have levels 0..16, which are spread over 0..255 before enlarging (bicubic).
    InputError for any side but 32. Who wrote a digit is not recorded: each is its own group.

    Source: scikit-learn's `load_digits` (test part of the UCI Optical Recognition set).
    """
    only_side("digits", side, (SIDE,))
    table = np.loadtxt(bundled_file(*DIGITS), delimiter=",")
    small = (table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    large = [Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for one in small]
    images = np.stack([np.asarray(image) for image in large])[:, None]
    pool = Pool(images=images, labels=table[:, -1].astype(np.int64))
    order = np.random.default_rng([seed, len(small)]).permutation(len(small))
    parts = np.split(order, [N_TRAIN, N_TRAIN + N_SEARCH])
    return ArrayData(
        spec="digits",
        classes=tuple("0123456789"),
        pools=dict.fromkeys(SPLITS, ("digits", pool)),
        picks=dict(zip(SPLITS, parts, strict=True)),
    )
