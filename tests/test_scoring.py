"""Scoring many tables at once against the plain loop."""

import numpy as np
import pytest
import torch
from torch import nn

from core import codec
from core.codec import qtable, scoring
from core.errors import InputError
from core.parts import at_a_time, in_parts

GRID = [
    qtable.Defensive(pattern=k, qs_of=16, qs_af=q).table()
    for k in (1, 2, 5, 14)
    for q in (1, 16, 31, 61, 121)
]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
        )
        model(torch.zeros(1, 3, 20, 26))
    return model.eval()


def smooth_images(n: int) -> torch.Tensor:
    """Soft pictures at 20x26: many coefficients vanish, so many tables give one picture."""
    coarse = torch.rand((n, 3, 4, 4), generator=torch.Generator().manual_seed(3))
    fine = nn.functional.interpolate(coarse, size=(20, 26), mode="bicubic").clamp(0, 1)
    return codec.to_images8(fine)


def plain_loop(network, images, tables) -> torch.Tensor:
    """One table and one image at a time: what `predict` must equal."""
    out = torch.empty((len(images), len(tables)), dtype=torch.int64)
    with torch.no_grad():
        for j, table in enumerate(tables):
            for i, image in enumerate(images):
                pixels = codec.to_pixels(image[None])
                seen = pixels if table is None else codec.compress(pixels, table)
                out[i, j] = network(seen).argmax()
    return out


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_predictions_are_those_of_the_plain_loop(network, batch_size, monkeypatch):
    monkeypatch.setattr(scoring, "_COEFFICIENT_BYTES", 5 * 8 * 3 * 20 * 26)  # 5 images at a time
    images, tables = smooth_images(12), [None, *GRID, qtable.ijg(75), None]
    scores = scoring.predict(network, images, tables, batch_size=batch_size)
    assert torch.equal(scores.predicted, plain_loop(network, images, tables))
    assert len(scores.predicted.unique()) > 1


def test_every_distinct_picture_is_seen_and_no_table_is_mistaken_for_another():
    images = smooth_images(6)
    seen: list[bytes] = []

    def spy(pixels):
        seen.extend(picture.numpy().tobytes() for picture in pixels)
        return torch.zeros(len(pixels), 2)

    scores = scoring.predict(spy, images, GRID)
    every = {
        codec.compress(codec.to_pixels(images[i : i + 1]), table)[0].numpy().tobytes()
        for i in range(6)
        for table in GRID
    }
    assert set(seen) == every
    assert scores.n_forwards == len(seen) < 6 * len(GRID)


def test_representatives_stand_for_identical_pictures():
    images, steps = smooth_images(4), torch.stack(GRID)
    values = codec.coefficients(images)
    pairs, inverse = scoring.distinct(values, steps)
    assert (np.diff(pairs) > 0).all()
    for pair, position in enumerate(inverse):
        (i, j), (ri, rj) = divmod(pair, len(GRID)), divmod(pairs[position], len(GRID))
        assert i == ri
        own, theirs = (codec.quantise(values[i], steps[t]) for t in (j, rj))
        assert torch.equal(own.abs(), theirs.abs())  # -0.0 is 0.0


def test_float_images_are_scored_as_they_are(network):
    pixels = (smooth_images(3) / 255 + 0.3 / 255).clamp(0, 1)
    scores = scoring.predict(network, pixels, [None, GRID[3]])
    with torch.no_grad():
        assert torch.equal(scores.predicted[:, 0], network(pixels).argmax(1))
        seen = codec.compress(pixels, GRID[3])
        assert torch.equal(scores.predicted[:, 1], network(seen).argmax(1))


def test_out_of_memory_halves_the_batch_and_nothing_else_changes(network):
    images, tables = smooth_images(12), [None, *GRID]
    whole, sizes = scoring.predict(network, images, tables), []

    def cramped(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(pixels)

    assert torch.equal(scoring.predict(cramped, images, tables).predicted, whole.predicted)
    assert {12, 6, 3} <= set(sizes)
    with pytest.raises(InputError, match=r"does not hold one image's work.*\nHint"):
        in_parts(lambda _: cramped(torch.empty(4)), 1, 1)


def test_a_gpu_gets_small_images_in_larger_batches():
    sizes = {
        side: at_a_time(torch.empty(1, 3, side, side), "cuda") for side in (8, 32, 64, 224, 448)
    }
    assert sizes == {8: 1024, 32: 1024, 64: 784, 224: 64, 448: 64}
    here = {side: at_a_time(torch.empty(1, 3, side, side), "cpu") for side in (8, 32, 64, 128, 224)}
    assert here == {8: 64, 32: 64, 64: 64, 128: 16, 224: 8}
