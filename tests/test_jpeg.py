"""JPEG in YCbCr against libjpeg, byte for byte, and its laws."""

import io

import numpy as np
import pytest
import scipy.fft
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from core import codec
from core.codec import chroma, color, islow, jpeg, qtable
from core.errors import InputError

# Colour and gray, of sides that are no multiple of 8 or 16.
PICTURES = {
    "astronaut": skimage.data.astronaut()[100:149, 200:235],
    "coffee": skimage.data.coffee()[50:84, 80:118],
    "cat": skimage.data.chelsea()[100:121, 120:168],
    "gray": skimage.data.camera()[200:250, 100:133],
}
PILLOW = {"444": 0, "420": 2}

sides = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, height: int, width: int) -> np.ndarray:
    """Uniform levels, or black and white only, which reach every clamp."""
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (height, width, 3))
    return np.where(seed % 2, levels, levels // 128 * 255).astype(np.uint8)


def steps(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256 // (1 + seed % 7), (8, 8))


def libjpeg(picture: np.ndarray, **how) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", **how)
    return np.asarray(Image.open(file))


def as_pixels(picture: np.ndarray) -> torch.Tensor:
    planes = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(planes))[None].float() / 255


def as_picture(pixels: torch.Tensor) -> np.ndarray:
    planes = codec.to_images8(pixels)[0].numpy()
    return planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("sampling", ["444", "420"])
def test_every_quality_is_libjpegs_byte_for_byte(name, sampling):
    picture = PICTURES[name]
    how = {} if picture.ndim == 2 else {"subsampling": PILLOW[sampling]}
    for quality in range(1, 101):
        luminance, chrominance = qtable.ijg(quality), jpeg.ijg_chrominance(quality)
        ours = jpeg.compress(as_pixels(picture), luminance, chrominance, sampling=sampling)
        theirs = libjpeg(picture, quality=quality, **how)
        np.testing.assert_array_equal(as_picture(ours), theirs, err_msg=f"quality {quality}")


@settings(max_examples=200)
@given(seed=seeds, height=sides, width=sides, sampling=st.sampled_from(["444", "420"]))
def test_noise_under_any_tables_is_libjpegs(seed, height, width, sampling):
    picture, tables = noise(seed, height, width), [steps(seed), steps(seed + 1)]
    quantisers = [table.flatten().tolist() for table in tables]
    theirs = libjpeg(picture, qtables=quantisers, subsampling=PILLOW[sampling])
    luminance, chrominance = (torch.from_numpy(table).double() for table in tables)
    ours = jpeg.compress(as_pixels(picture), luminance, chrominance, sampling=sampling)
    np.testing.assert_array_equal(as_picture(ours), theirs)


@pytest.mark.parametrize("width", [3, 4])
def test_without_the_triangle_filter_samples_are_repeated(width):
    # libjpeg itself repeats samples in pictures up to four wide, whatever the height.
    picture = skimage.data.astronaut()[100:140, 200 : 200 + width]
    tables = qtable.ijg(90), jpeg.ijg_chrominance(90)
    theirs = libjpeg(picture, quality=90, subsampling=2)
    for fancy in (True, False):
        ours = jpeg.compress(as_pixels(picture), *tables, fancy=fancy)
        np.testing.assert_array_equal(as_picture(ours), theirs)


def test_doubled_planes_are_numpys_repetition_or_libjpegs_sums():
    planes = torch.randint(
        0, 256, (1, 2, 5, 6), generator=torch.Generator().manual_seed(0)
    ).double()
    plain = chroma.double(planes, 9, 12, fancy=False)
    whole = planes.numpy().repeat(2, -1).repeat(2, -2)
    np.testing.assert_array_equal(plain, whole[..., :9, :])
    # jdsample.c in whole numbers, one sample at a time.
    edged = np.pad(planes.numpy().astype(int), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    fancy = chroma.double(planes, 9, 12).numpy()
    for row, column in np.ndindex(9, 12):
        y, x = row // 2 + 1, column // 2 + 1
        far_y, far_x = y + (1 if row % 2 else -1), x + (1 if column % 2 else -1)
        near = 3 * edged[..., y, x] + edged[..., far_y, x]
        far = 3 * edged[..., y, far_x] + edged[..., far_y, far_x]
        expected = (3 * near + far + (7 if column % 2 else 8)) >> 4
        np.testing.assert_array_equal(fancy[..., row, column], expected)


@pytest.mark.parametrize("quality", range(1, 101))
def test_chrominance_tables_are_libjpegs(quality):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    theirs = Image.open(file).quantization[1]
    assert jpeg.ijg_chrominance(quality).flatten().tolist() == theirs


@given(levels=hnp.arrays(np.int64, (3, 8, 8), elements=st.integers(-128, 127)))
def test_the_integer_dct_is_near_the_exact_one(levels):
    exact = scipy.fft.dctn(levels.astype(float), axes=(1, 2), norm="ortho")
    ours = islow.dct8(torch.from_numpy(levels).double())
    # First pass: each of 8 sums is rounded to 1/4 level of its row transform (scaled by sqrt 8):
    # 1/8 x sqrt(8) x 8 x 1/4 x |basis| <= 0.18; second pass: 1/16; constants: 13 bits. Below 0.3.
    assert np.abs(ours.numpy() - exact).max() < 0.3
    back = islow.idct8(ours.round())
    # 64 coefficients off by at most 0.8, spread by an orthonormal basis, and a rounding.
    assert (back - torch.from_numpy(levels)).abs().max() <= 8 * 0.8 + 1


def test_colours_are_pillows_and_the_standards():
    # Pillow's own conversion cuts off where libjpeg rounds: below one level apart.
    every = torch.cartesian_prod(*[torch.arange(0, 256, 15)] * 3).T.reshape(1, 3, 1, -1).double()
    picture = Image.fromarray(every[0, :, 0].T[None].byte().numpy())
    theirs = np.asarray(picture.convert("YCbCr"))[0].T
    ours = color.encode(every)[0, :, 0].numpy()
    assert np.abs(ours - theirs).max() <= 1
    exact = color.ycbcr(every)[0, :, 0].numpy() + np.array([[0], [128], [128]])
    # Half a level, and constants of 16 bits; 255.5 for pure red and blue is clipped by neither.
    assert np.abs(ours - exact.clip(0, 255)).max() <= 0.5 + 1e-2
    assert color.ycbcr(torch.ones(1, 3, 1, 1)).flatten().tolist() == pytest.approx([1, 0, 0])
    back = color.decode(color.encode(every))
    # Rounded Y, Cb, Cr are off by 1/2 each: at most (1 + 1.772) / 2, and a rounding.
    assert (back - every).abs().max() <= 1.9


def test_unrounded_pixels_are_rounded_first():
    pixels = as_pixels(PICTURES["cat"])
    nudged = (pixels + torch.empty_like(pixels).uniform_(-0.4, 0.4) / 255).clamp(0, 1)
    tables = qtable.ijg(50), jpeg.ijg_chrominance(50)
    assert torch.equal(jpeg.compress(nudged, *tables), jpeg.compress(pixels, *tables))


def test_the_straight_through_derivative_is_that_of_the_linear_steps():
    # With rounding and clamping gone, JPEG is linear: the derivative is its transpose, which finite
    # differences of the unrounded function show. Mid-gray pixels stay clear of the clamps.
    generator = torch.Generator().manual_seed(0)
    pixels = 0.4 + 0.2 * torch.rand(1, 3, 18, 20, generator=generator)
    weights = torch.randn(1, 3, 18, 20, generator=generator)
    direction = torch.randn(pixels.shape, generator=generator)
    tables = qtable.uniform(1), qtable.uniform(1)

    def value(at, rounding):
        return (jpeg.compress(at, *tables, rounding=rounding) * weights).sum()

    inputs = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(inputs, codec.round_through), inputs)
    step = 1e-2 * direction

    def smooth(at):
        return value(at, lambda values: values)

    slope = (smooth(pixels + step) - smooth(pixels - step)) / 2
    # The nudges that decide ties cancel in the difference; float32 sums remain.
    torch.testing.assert_close((gradient * step).sum(), slope, rtol=1e-3, atol=1e-3)
    assert torch.equal(
        jpeg.compress(pixels, *tables, rounding=codec.round_through), jpeg.compress(pixels, *tables)
    )


@pytest.mark.parametrize(("channels", "sampling"), [(2, "444"), (4, "420"), (3, "422")], ids=str)
def test_what_jpeg_cannot_code_is_named(channels, sampling):
    tables = qtable.ijg(50), jpeg.ijg_chrominance(50)
    with pytest.raises(InputError, match="expected 1 or 3 channels"):
        # beartype refuses an unknown sampling before we do; the call as plain users make it.
        getattr(jpeg.compress, "__wrapped__", jpeg.compress)(
            torch.zeros(1, channels, 8, 8), *tables, sampling=sampling
        )
