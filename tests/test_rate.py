"""Bits of a JPEG scan, against files that Pillow writes and rates that others measured."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from core.codec import qtable, rate
from core.data import open_data
from core.errors import InputError


def photos(n=64):
    return open_data("photos").batch("search", range(n))[0]


def test_two_pictures_of_one_table_differ_by_their_scans_alone():
    images = photos(8)

    def file(image):
        out = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(out, "JPEG", quality=40)
        return 8 * len(out.getvalue())

    whole = np.array([file(image) for image in images])
    bits = rate.bits_of("jpeg40", images).numpy()
    assert len(set(whole - bits)) == 1  # headers and tables
    assert len(set(bits)) > 4


def test_an_even_picture_costs_a_code_for_each_block_and_table():
    # Four luma blocks (4:2:0: one chroma block of each kind): DC of the first, then differences of
    # 0 (2 bits in luma and chroma) and an end of block each (4 bits in luma, 2 in chroma).
    even = torch.full((1, 3, 16, 16), 128, dtype=torch.uint8)
    assert rate.bits_of("jpeg75", even).item() == 8 * 4  # 4 * 6 + 2 * 4 bits, whole bytes


@pytest.mark.parametrize(("name", "bpp"), [("jpeg40", 1.15), ("jpeg80", 2.29), ("jpeg5", 0.29)])
def test_photographs_cost_what_others_measured(name, bpp):
    measured = rate.bits_of(name, photos()).double().mean() / 32**2
    assert measured == pytest.approx(bpp, rel=0.15)


def test_a_table_without_colour_transform_costs_more_than_jpeg_of_like_steps():
    images = photos()
    uniform, finer = (
        rate.bits_of(name, images).double().mean() for name in ("uniform16", "uniform8")
    )
    assert uniform < finer
    assert (
        rate.bits_of("ijg75", images).double().mean()
        > rate.bits_of("jpeg75", images).double().mean()
    )


def test_gray_has_one_table():
    gray = photos(4)[:, :1].contiguous()
    assert torch.equal(rate.bits_of("jpeg50", gray), rate.bits_of("ijg50", gray))


def test_what_has_no_fixed_codec_is_an_error():
    for name in ("shield", "none", "jpegx"):
        with pytest.raises(InputError):
            rate.bits_of(name, photos(1))
    with pytest.raises(InputError, match="1 or 3 channels, got 2"):
        rate.table_bits(torch.zeros(1, 2, 8, 8, dtype=torch.uint8), qtable.uniform(9))
