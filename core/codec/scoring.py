"""Many images under many tables, each distinct picture classified once.

The DCT of an image is taken once for all tables. Two tables give the very same picture where
they differ only in steps that quantise every block's coefficient to zero: with M the largest
magnitude of a coefficient over an image, any step >= 2M zeroes it. Such pictures are
classified once. The predictions are those of the plain loop over tables (`tests/test_scoring.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core import codec
from core.codec import fused
from core.codec.screen import HOW, Classifier, Screen
from core.parts import in_parts
from core.shapes import Coefficients, Images, Pixels

_CPU_BATCH_SAMPLES = 64 * 3 * 32 * 32
_COEFFICIENT_BYTES = 256 * 2**20  # how much of one device's memory the DCT may take at a time


@dataclass(frozen=True)
class Scores:
    """What every image was taken for under every table."""

    predicted: Tensor  # int64 [n images, t tables], on the CPU
    n_forwards: int  # pictures that the network saw
    how: Tensor  # as `predicted`: places in `screen.HOW`, all 0 where nothing is screened


@torch.inference_mode()
def predict(
    classifier: Classifier | Screen,
    images: Images,
    tables: Sequence[Tensor | None],
    *,
    batch_size: int | None = None,
) -> Scores:
    """Classify each image under each table (None: no codec).

    `images` decide the device. `batch_size` is the number of pictures the network sees at a time:
    unless given 256 on a GPU, and on a CPU what its caches hold, 64 of 32 px.
    """
    if batch_size is None:
        batch_size = batch_size_of(images)
    coded = [i for i, table in enumerate(tables) if table is not None]
    columns: dict[int, Tensor] = {}  # of the tables: where the images are, until the end
    n_forwards = 0
    if len(coded) < len(tables):
        n_forwards += len(images)

        def plain(part: slice | Tensor) -> Pixels:
            return codec.to_pixels(images[part])

        seen = _classified(classifier, plain, len(images), batch_size)
        columns |= dict.fromkeys(range(len(tables)), seen)
    if coded:
        steps = torch.stack([table for table in tables if table is not None]).to(images.device)
        n_at_once = max(1, _COEFFICIENT_BYTES // (8 * images[0].numel()))
        found = [
            _predict_coded(classifier, p, steps, batch_size) for p in torch.split(images, n_at_once)
        ]
        n_forwards += sum(n_pictures for _, n_pictures in found)
        columns |= dict(zip(coded, torch.cat([part for part, _ in found]).unbind(1), strict=True))
    return _scores([columns[i] for i in range(len(tables))], n_forwards)


@torch.inference_mode()
def predict_behind(
    classifier: Classifier | Screen, images: Images, codecs: Sequence[Callable[[Pixels], Pixels]]
) -> Scores:
    """Classify each image behind each of any codecs, as tables are."""
    size = batch_size_of(images)

    def seen(through: Callable[[Pixels], Pixels]) -> Tensor:
        def pixels(part: slice | Tensor) -> Pixels:
            return through(codec.to_pixels(images[part]))

        return _classified(classifier, pixels, len(images), size)

    return _scores([seen(through) for through in codecs], len(images) * len(codecs))


def _scores(columns: list[Tensor], n_forwards: int) -> Scores:
    predicted, how = torch.stack(columns, 1).cpu().unbind(2)
    return Scores(predicted, n_forwards, how)


def batch_size_of(images: Images) -> int:
    """Pictures at a time, where nothing else is asked."""
    small = min(64, max(4, _CPU_BATCH_SAMPLES // images[0].numel()))
    return small if images.device.type == "cpu" else 256


def _classified(
    classifier: Classifier | Screen,
    pixels: Callable[[slice | Tensor], Pixels],
    n: int,
    batch_size: int,
) -> Tensor:
    """The class of each picture and how it was found, int64 [n, 2], where the pixels are."""
    if isinstance(classifier, Screen):
        return torch.stack(classifier.classes(pixels, n, batch_size), 1)
    found = in_parts(lambda part: classifier(pixels(part)).argmax(1), n, batch_size)
    return torch.nn.functional.pad(torch.cat(found)[:, None], (0, 1))  # no wait for the device


def distinct(values: Coefficients, steps: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Which (image, table) pairs give pictures of their own, and which pair stands for each.

    Returns flat pair indices (image * n_tables + table, ascending) of the representatives, and
    for every pair the position of its representative among them.
    """
    peaks = values.abs().amax(dim=(1, 2, 3))  # [n, 8, 8]
    alive = peaks[:, None] > steps / 2
    key = torch.where(alive, steps.to(torch.uint8), 0).flatten(2).cpu().numpy()  # [n, t, 64]
    place: dict[bytes, int] = {}
    first: list[int] = []
    inverse = np.empty(key.shape[0] * key.shape[1], dtype=np.int64)
    for image, rows in enumerate(key):
        place.clear()
        for table, row in enumerate(rows):
            pair = image * len(rows) + table
            inverse[pair] = place.setdefault(row.tobytes(), len(first))
            if inverse[pair] == len(first):
                first.append(pair)
    return np.array(first), inverse


def _predict_coded(
    classifier: Classifier | Screen, images: Images, steps: Tensor, batch_size: int
) -> tuple[Tensor, int]:
    """As `_classified` of every image and table, [n, t, 2]; how many pictures the network saw."""
    values = codec.coefficients(images)
    pairs, inverse = distinct(values, steps)
    image_of, table_of = (torch.from_numpy(i).to(images.device) for i in divmod(pairs, len(steps)))

    size = (images.shape[-2], images.shape[-1])

    def pixels(part: slice | Tensor) -> Pixels:
        return fused.pictures(values, steps, image_of[part], table_of[part], size)

    seen = _classified(classifier, pixels, len(pairs), batch_size)
    found = seen[torch.from_numpy(inverse).to(images.device)]
    _count_once(found[:, 1], torch.from_numpy(pairs).to(images.device))
    return found.reshape(len(images), len(steps), 2), len(pairs)


def _count_once(how: Tensor, firsts: Tensor) -> None:
    """Leave an audit to the one of equal pictures that stands for them; it confirms the others."""
    audited = how >= HOW.index("audited")
    audited[firsts] = False
    how[audited] = HOW.index("confirmed")
