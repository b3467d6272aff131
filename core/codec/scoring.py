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
from core.parts import in_parts
from core.shapes import Coefficients, Images, Logits, Pixels

Classifier = Callable[[Pixels], Logits]

_CPU_BATCH_SAMPLES = 64 * 3 * 32 * 32
_COEFFICIENT_BYTES = 256 * 2**20  # how much of one device's memory the DCT may take at a time


@dataclass(frozen=True)
class Scores:
    """What every image was taken for under every table."""

    predicted: Tensor  # int64 [n images, t tables], on the CPU
    n_forwards: int  # pictures that the network saw


@torch.inference_mode()
def predict(
    classifier: Classifier,
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
        batch_size = _batch_size(images)
    coded = [i for i, table in enumerate(tables) if table is not None]
    columns: dict[int, Tensor] = {}  # of the tables: where the images are, until the end
    n_forwards = 0
    if len(coded) < len(tables):
        n_forwards += len(images)

        def plain(part: slice) -> Pixels:
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
        predicted = torch.cat([part for part, _ in found])
        columns |= dict(zip(coded, predicted.unbind(1), strict=True))
    return Scores(torch.stack([columns[i] for i in range(len(tables))], 1).cpu(), n_forwards)


@torch.inference_mode()
def predict_behind(
    classifier: Classifier, images: Images, codecs: Sequence[Callable[[Pixels], Pixels]]
) -> Tensor:
    """Classify each image behind each of any codecs: int64 [n images, t codecs], on the CPU."""
    size = _batch_size(images)

    def seen(through: Callable[[Pixels], Pixels]) -> Tensor:
        def pixels(part: slice) -> Pixels:
            return through(codec.to_pixels(images[part]))

        return _classified(classifier, pixels, len(images), size)

    return torch.stack([seen(through) for through in codecs], 1).cpu()


def _batch_size(images: Images) -> int:
    small = min(64, max(4, _CPU_BATCH_SAMPLES // images[0].numel()))
    return small if images.device.type == "cpu" else 256


def _classified(
    classifier: Classifier, pixels: Callable[[slice], Pixels], n: int, batch_size: int
) -> Tensor:
    """The predicted class of each picture, int64 [n], where the pixels are: one wait for all."""
    return torch.cat(in_parts(lambda part: classifier(pixels(part)).argmax(1), n, batch_size))


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
    classifier: Classifier, images: Images, steps: Tensor, batch_size: int
) -> tuple[Tensor, int]:
    """Predictions as in `Scores`, and how many pictures the network saw."""
    values = codec.coefficients(images)
    pairs, inverse = distinct(values, steps)
    image_of, table_of = (torch.from_numpy(i).to(images.device) for i in divmod(pairs, len(steps)))

    size = (images.shape[-2], images.shape[-1])

    def pixels(part: slice) -> Pixels:
        return fused.pictures(values, steps, image_of[part], table_of[part], size)

    seen = _classified(classifier, pixels, len(pairs), batch_size)
    predicted = seen[torch.from_numpy(inverse).to(images.device)].reshape(len(images), len(steps))
    return predicted, len(pairs)
