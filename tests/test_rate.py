"""Bits of a JPEG scan, against files that Pillow writes and rates that others measured."""

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from core.codec import qtable, rate
from core.data import open_data
from core.defences import defence_by_name
from core.errors import InputError
from search import references
from search.engine.study import NotStoredError
from search.inputs.pictures import Pictures, Piece


def photos(n=64):
    return open_data("photos").batch("search", range(n))[0]


def file_of(image, **how):
    out = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(out, "JPEG", **how)
    return out.getvalue()


def test_two_pictures_of_one_table_differ_by_what_follows_the_marker_alone():
    images = photos(8)
    whole = np.array([8 * len(file_of(image, quality=40)) for image in images])
    bits = rate.bits_of("jpeg40", images, marked=True).numpy()
    assert len(set(whole - bits)) == 1  # headers and tables
    assert len(set(bits)) > 4


def huffman(data):
    """Codes of each table of a file: its class and number to code (a text of bits) to value."""
    tables, at = {}, 0
    while (at := data.find(b"\xff\xc4", at)) >= 0:
        end, at = at + 2 + int.from_bytes(data[at + 2 : at + 4]), at + 4
        while at < end:
            counts, values, code, codes = data[at + 1 : at + 17], at + 17, 0, {}
            for length, count in enumerate(counts, start=1):
                for _ in range(count):
                    codes[f"{code:0{length}b}"] = data[values]
                    code, values = code + 1, values + 1
                code <<= 1
            tables[data[at]] = codes
            at = values
    return tables


def read_blocks(bits, tables, components):
    """How many bits the blocks of so many units take; a component a block, each in its order."""

    def value(codes, at):
        end = next(e for e in range(at + 1, at + 17) if bits[at:e] in codes)
        return codes[bits[at:end]], end

    at = 0
    for chroma in components:
        size, at = value(tables[int(chroma)], at)
        at, n = at + size, 1
        while n < 64:
            symbol, at = value(tables[16 + int(chroma)], at)
            run, size = symbol >> 4, symbol & 15
            if not size and run < 15:
                break
            at, n = at + size, n + run + 1
    return at


@pytest.mark.parametrize(
    ("name", "unit"), [("jpeg80", [0] * 4 + [1] * 2), ("jpeg80-444", [0, 1, 1])]
)
def test_a_scan_is_what_a_full_decode_reads_but_for_padding(name, unit):
    images = photos(6)
    scans = zip(
        images, rate.bits_of(name, images), rate.bits_of(name, images, marked=True), strict=True
    )
    stuffed = 0
    for image, scan, marked in scans:
        data = file_of(image, quality=80, subsampling=0 if "444" in name else 2)
        coded = data[data.index(b"\xff\xda") + 14 : -2]
        stuffed += coded.count(b"\xff\x00")
        assert marked == scan + 8 * (16 + coded.count(b"\xff\x00"))
        bits = "".join(f"{byte:08b}" for byte in coded.replace(b"\xff\x00", b"\xff"))
        units = 4 if len(unit) == 6 else 16
        assert 0 <= scan - read_blocks(bits, huffman(data), unit * units) < 8
    assert stuffed


def test_every_space_costs_its_own():
    images = photos(16)
    names = ("ijg50", "ijg50@ycbcr", "ijg50@ycbcr420", "jpeg50-444", "jpeg50")
    mean = {name: rate.bits_of(name, images).double().mean() for name in names}
    assert mean["ijg50"] > mean["ijg50@ycbcr"] > mean["ijg50@ycbcr420"] > mean["jpeg50"]
    assert mean["ijg50@ycbcr"] > mean["jpeg50-444"] > mean["jpeg50"]  # coarser in chroma
    assert torch.equal(rate.bits_of("fd", images), rate.bits_of("fd@ycbcr", images))


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


class Stored:
    """A lab whose rows are those of `n_bits` for each codec; None: there are none."""

    texts = dict.fromkeys(("data", "fingerprint", "model", "precision"), "")
    inputs = SimpleNamespace(side=8, fields=lambda: {**Stored.texts, "side": 8, "seed": 0})
    defence = staticmethod(defence_by_name)

    def __init__(self, n_bits=None):
        self.n_bits = n_bits

    def sweep(self, *_, **__):
        if self.n_bits is None:
            raise NotStoredError("none")
        lines = [(name, bits) for name, each in self.n_bits.items() for bits in each]
        return pd.DataFrame(lines, columns=["codec", "bits"])


def test_bits_per_pixel_are_said_of_codecs_and_not_asked_of_rows_that_have_none():
    names = ("none", "jpeg40", "smooth8", "fd")
    n_bits = {"fd": [128, 256], "jpeg40": [64, 64]}
    shown = Pictures((Piece("p", "report", "benign", np.arange(2), np.zeros(2), []),))
    found = references.bpp(Stored(n_bits), names, shown)
    assert found == {"jpeg40": 1.0, "fd": 3.0}
    assert references.bpp_text(found) == ["bits per pixel of JPEG's scan: jpeg40 1.00, fd 3.00"]
    assert references.bpp_text(references.bpp(Stored(), names, shown)) == []
    assert references.bpp(Stored(), ["none", "smooth8"], shown) == {}
