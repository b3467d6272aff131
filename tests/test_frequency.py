"""Deviations of DCT coefficients against a plain loop; orders and bands."""

import numpy as np
import pandas as pd
import pytest
import scipy.fft
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core.codec import frequency, qtable
from core.errors import InputError
from results import frequency as answers
from results import frequency_picture


def plain_deviation(planes: np.ndarray) -> np.ndarray:
    """Of [n, h, w] planes, block by block, as the paper says it."""
    padded = np.pad(
        planes, ((0, 0), (0, -planes.shape[1] % 8), (0, -planes.shape[2] % 8)), mode="edge"
    )
    found = [
        scipy.fft.dctn(picture[top : top + 8, left : left + 8], norm="ortho")
        for picture in padded
        for top in range(0, padded.shape[1], 8)
        for left in range(0, padded.shape[2], 8)
    ]
    return np.std(found, axis=0)


def planes_of(rgb: np.ndarray) -> list[np.ndarray]:
    red, green, blue = np.moveaxis(rgb.astype(float), 1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    # Cb and Cr are (B - Y) / 1.772 and (R - Y) / 1.402 (T.871, clause 7).
    return [red, green, blue, luma, (blue - luma) / 1.772, (red - luma) / 1.402]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    base = torch.randint(0, 256, (5, 3, 5, 4), generator=generator).float()
    return torch.nn.functional.interpolate(base, size=(20, 24), mode="bilinear").byte()


@pytest.fixture(scope="module")
def attacked(images) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    change = torch.randint(-2, 3, images.shape, generator=generator)
    return (images.int() + change).clamp(0, 255).byte()


def test_deviations_are_those_of_a_plain_loop(images, attacked):
    benign = frequency.of_images(images).deviation().numpy()
    distortion = frequency.of_distortion(attacked, images).deviation().numpy()
    change = attacked.numpy().astype(float) - images.numpy()
    for channel, (image, noise) in enumerate(
        zip(planes_of(images.numpy()), planes_of(change), strict=True)
    ):
        # float32 pixels hold 24 bits of a level; sums of squares are float64.
        np.testing.assert_allclose(benign[channel], plain_deviation(image), atol=1e-4)
        np.testing.assert_allclose(distortion[channel], plain_deviation(noise), atol=1e-4)


def test_gray_has_one_channel(images):
    gray = images[:, :1]
    deviation = frequency.of_images(gray).deviation()
    assert deviation.shape == (1, 8, 8)
    np.testing.assert_allclose(deviation[0], plain_deviation(gray[:, 0].numpy()), atol=1e-4)


def test_moments_add_up_whatever_the_parts(images, monkeypatch):
    whole = frequency.of_images(images)
    by_hand = frequency.of_images(images[:2]) + frequency.of_images(images[2:])
    monkeypatch.setattr(frequency, "_BATCH_SAMPLES", 1)
    one_by_one = frequency.of_images(images)
    for parts in (by_hand, one_by_one):
        assert parts.n_blocks == whole.n_blocks == 5 * 3 * 3
        # Sums of up to 1e7, in another order.
        torch.testing.assert_close(parts.deviation(), whole.deviation(), rtol=1e-9, atol=1e-9)


values = hnp.arrays(np.float64, (8, 8), elements=st.integers(0, 20).map(float))


@pytest.mark.parametrize("k", range(1, 16))
def test_cut_by_diagonals_a_band_is_the_papers_pattern(k):
    paper = qtable.Defensive(pattern=k, qs_of=16, qs_af=50).table()
    n_favoured = int((paper == 16).sum())
    mask = frequency.smallest(frequency.diagonals(), n_favoured)
    assert torch.equal(qtable.Banded.of(mask, qs_of=16, qs_af=50).table(), paper)


@given(ratio=values, n_favoured=st.integers(1, 64))
def test_a_band_holds_the_smallest_ratios(ratio, n_favoured):
    mask = frequency.smallest(torch.from_numpy(ratio), n_favoured).numpy()
    assert mask.sum() == n_favoured
    if n_favoured < 64:
        assert ratio[mask].max() <= ratio[~mask].min()


@pytest.mark.parametrize("n_favoured", [0, 65])
def test_bands_of_impossible_size_are_named(n_favoured):
    with pytest.raises(InputError, match="1 to 64"):
        frequency.smallest(frequency.diagonals(), n_favoured)


def rows_of(images: torch.Tensor, attacked: torch.Tensor, cell_id: str) -> pd.DataFrame:
    benign, distortion = frequency.of_images(images), frequency.of_distortion(attacked, images)
    channel, u, v = np.indices((6, 8, 8)).reshape(3, -1)
    return pd.DataFrame(
        {
            "cell_id": cell_id,
            "split": "search",
            "channel": np.array(frequency.CHANNELS)[channel],
            "u": u,
            "v": v,
            "n_blocks": benign.n_blocks,
            "benign": benign.total.flatten(),
            "benign_squares": benign.total_squares.flatten(),
            "distortion": distortion.total.flatten(),
            "distortion_squares": distortion.total_squares.flatten(),
        }
    )


def test_rows_of_several_cells_give_the_deviations_of_all_images(images, attacked):
    first = rows_of(images[:2], attacked[:2], "a")
    second = rows_of(images[2:], attacked[2:], "b")
    lines = answers.deviations(pd.concat([first, second, first]))  # one cell measured twice
    whole = frequency.of_images(images).deviation().numpy()
    distortion = frequency.of_distortion(attacked, images).deviation().numpy()
    # The same sums in another order.
    np.testing.assert_allclose(lines["delta_b"], whole.ravel(), rtol=1e-9)
    np.testing.assert_allclose(lines["delta_a"], distortion.ravel(), rtol=1e-9)
    np.testing.assert_allclose(
        answers.ratio_map(lines, "search", "Cb"), distortion[4] / whole[4], rtol=1e-9
    )
    luma = lines[lines["channel"] == "Y"]
    theirs = scipy.stats.spearmanr((distortion[3] / whole[3]).ravel(), luma["diagonal"]).statistic
    assert answers.rank_correlation(luma, "ratio", "diagonal") == pytest.approx(theirs, abs=1e-12)


def test_a_frequency_that_never_varies_has_no_ratio(images, attacked):
    rows = rows_of(images, attacked, "a")
    still = (rows["channel"] == "Y") & (rows["u"] == 7)
    rows.loc[still, ["benign", "benign_squares"]] = 0.0
    ratio = answers.ratio_map(answers.deviations(rows), "search", "Y")
    assert np.isnan(ratio[7]).all()
    assert not np.isnan(ratio[:7]).any()


def test_the_zigzag_is_the_standards():
    # T.81, figure 5: the place of each coefficient in the sequence, row by row.
    order = [
        0, 1, 5, 6, 14, 15, 27, 28, 2, 4, 7, 13, 16, 26, 29, 42, 3, 8, 12, 17, 25, 30, 41, 43, 9,
        11, 18, 24, 31, 40, 44, 53, 10, 19, 23, 32, 39, 45, 52, 54, 20, 22, 33, 38, 46, 51, 55, 60,
        21, 34, 37, 47, 50, 56, 59, 61, 35, 36, 48, 49, 57, 58, 62, 63,
    ]  # fmt: skip
    assert [order.index(i) for i in range(64)] == [8 * u + v for u, v in frequency_picture.zigzag()]


def test_the_picture_shows_what_the_rows_say(images, attacked):
    lines = answers.deviations(rows_of(images, attacked, "a"))
    figure = frequency_picture.spectra(lines, title="what was measured")
    benign, _, *maps = [axes for axes in figure.axes if axes.get_title()]
    assert [line.get_label() for line in benign.lines] == list(frequency.CHANNELS)
    assert benign.lines[0].get_ydata()[0] == pytest.approx(lines["delta_b"].iloc[0])
    shown = maps[5].images[0].get_array()
    np.testing.assert_array_equal(shown, answers.ratio_map(lines, "search", "Cr"))
