"""The codec against libjpeg, and its laws."""

import io

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from core import codec
from core.codec import dct, qtable
from core.errors import InputError

sides = st.integers(1, 40)
tables = hnp.arrays(np.uint8, (8, 8), elements=st.integers(1, 255))


def libjpeg(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """One [c, h, w] picture through real libjpeg: no colour transform, no subsampling."""
    picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    file = io.BytesIO()
    colour = {} if len(image) == 1 else {"keep_rgb": True, "subsampling": 0}
    picture.save(file, "JPEG", qtables=[table.flatten().tolist()], **colour)
    decoded = np.asarray(Image.open(file))
    return decoded[None] if decoded.ndim == 2 else decoded.transpose(2, 0, 1)


def tie_tolerance(images: torch.Tensor, steps: torch.Tensor) -> np.ndarray:
    """How far libjpeg may lie from us, per block, given its integer DCT.

    A coefficient that lies within 1/4 of a rounding tie may go the other way: one step, spread over
    the samples by a basis function of magnitude at most 1/4. One level is the last rounding.
    """
    scaled = codec.coefficients(images) / steps
    tie = ((scaled - scaled.floor() - 0.5).abs() * steps) < 0.25
    levels = 1 + (tie * steps).sum((-2, -1), keepdim=True) / 4
    whole = codec.planes(levels.expand(*scaled.shape), *images.shape[-2:]) - 128
    return whole.numpy()


@settings(max_examples=150, deadline=None)
@given(data=st.data(), channels=st.sampled_from([1, 3]), height=sides, width=sides, table=tables)
def test_decoded_picture_is_libjpegs_up_to_rounding_ties(data, channels, height, width, table):
    pixels = data.draw(hnp.arrays(np.uint8, (channels, height, width)))
    images, steps = torch.from_numpy(pixels)[None], torch.from_numpy(table).double()
    ours = codec.decode(codec.quantise(codec.coefficients(images), steps), height, width) * 255
    theirs = libjpeg(pixels, table).astype(int)
    assert (np.abs(ours[0].numpy() - theirs) <= tie_tolerance(images, steps)[0]).all()


def test_where_no_coefficient_is_near_a_tie_only_the_last_rounding_differs():
    # The bound above is loose where there are ties; most blocks of a soft picture have none.
    grid = np.mgrid[0:64, 0:64]
    waves = 128 + 90 * np.sin(grid[0] / 7.3) * np.cos(grid[1] / 5.1) + grid[0] / 3
    pixels = waves.clip(0, 255).astype(np.uint8)[None]
    images, table = torch.from_numpy(pixels)[None], qtable.uniform(199)
    ours = codec.compress(codec.to_pixels(images), table) * 255
    difference = np.abs(ours[0].numpy() - libjpeg(pixels, table.numpy().astype(np.uint8)))
    clear = tie_tolerance(images, table)[0] == 1
    assert clear.mean() > 0.7
    assert difference[clear].max() <= 1
    assert (difference[clear] == 0).mean() > 0.95


@given(levels=hnp.arrays(np.float64, (3, 8, 8), elements=st.floats(-128, 127)))
def test_dct_is_scipys(levels):
    theirs = scipy.fft.dctn(levels, axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(dct.dct8(torch.from_numpy(levels)), theirs, atol=1e-6)


@given(levels=hnp.arrays(np.int64, (2, 8, 8), elements=st.integers(-128, 127)))
def test_dct_inverts_and_keeps_energy(levels):
    levels = torch.from_numpy(levels).double()
    values = dct.dct8(levels)
    torch.testing.assert_close(dct.idct8(values), levels, atol=1e-6, rtol=0)
    torch.testing.assert_close(values.square().sum(), levels.square().sum(), rtol=1e-8, atol=1e-6)


def test_whole_numbers_transform_exactly_whatever_the_order_of_summation():
    levels = torch.randint(-128, 128, (500, 8, 8), generator=torch.Generator().manual_seed(0))
    values = dct.dct8(levels.double())
    one_by_one = torch.stack([dct.dct8(block) for block in levels.double()])
    backwards = (levels.double().flatten(1).flip(1) @ dct.BASIS.flip(1).T).reshape(-1, 8, 8)
    assert torch.equal(values, one_by_one)
    assert torch.equal(values, backwards)
    coarse = codec.quantise(values, qtable.ijg(30))
    assert torch.equal(dct.idct8(coarse), torch.stack([dct.idct8(block) for block in coarse]))


@pytest.mark.parametrize("side", [8, 13, 32])
def test_blocks_and_planes_are_inverse(side):
    images = torch.randint(0, 256, (2, 3, side, side + 3), dtype=torch.uint8)
    assert torch.equal(codec.planes(codec.blocks(images), side, side + 3), images.double())


def test_padding_repeats_the_edge():
    images = torch.arange(9 * 10, dtype=torch.uint8).reshape(1, 1, 9, 10)
    padded = codec.planes(codec.blocks(images), 16, 16)[0, 0]
    assert torch.equal(padded[8:, :10], images[0, 0, 8].double().expand(8, 10))
    assert torch.equal(padded[:9, 9:], images[0, 0, :, 9:].double().expand(9, 7))


def test_steps_of_one_change_no_level_by_more_than_the_rounding():
    images = torch.randint(0, 256, (4, 3, 24, 24), dtype=torch.uint8)
    out = codec.compress(codec.to_pixels(images), qtable.uniform(1)) * 255
    # 64 coefficients, each off by at most 1/2, spread by an orthonormal basis.
    assert (out - images).abs().max() <= 4.5


def test_a_flat_picture_on_the_step_grid_is_kept():
    # DC is 8 x (level - 128): a multiple of 16 for even levels.
    images = torch.arange(0, 256, 2, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    out = codec.to_images8(codec.compress(codec.to_pixels(images), qtable.uniform(16)))
    assert torch.equal(out, images)


def test_eight_bit_images_survive_the_way_through_pixels():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(codec.to_images8(codec.to_pixels(images)), images)
    assert torch.equal(
        codec.to_pixels(images) * 255, images.float()
    )  # whole: `compress` relies on it


def test_straight_through_rounding_gives_the_identity_gradient():
    def through(values):
        return values + (values.round() - values).detach()

    pixels = torch.full((1, 1, 8, 8), 0.4).requires_grad_()
    codec.compress(pixels, qtable.uniform(7), rounding=through).sum().backward()
    torch.testing.assert_close(pixels.grad, torch.ones_like(pixels), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [torch.int64, torch.int8, torch.bool])
def test_images_of_other_numbers_are_no_pixels(kind):
    with pytest.raises(InputError, match=f"got {kind}"):
        codec.to_pixels(torch.ones(1, 3, 8, 8, dtype=kind))
