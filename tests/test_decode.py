"""From an image file of any kind to a square of 8-bit RGB."""

import io
import struct
import zlib

import numpy as np
import PIL
import pytest
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as tvf

from core.data.decode import decode_square
from core.errors import InputError


def test_decoding_is_torchvisions_evaluation_transform(tmp_path):
    random = np.random.default_rng(1)
    for size in ((301, 207), (57, 400), (20, 20), (33, 1)):
        path = tmp_path / f"{size[0]}.png"
        Image.fromarray(random.integers(256, size=(size[1], size[0], 3), dtype=np.uint8)).save(path)
        resized = tvf.resize(Image.open(path), 256, transforms.InterpolationMode.BILINEAR)
        theirs = np.asarray(tvf.center_crop(resized, [224, 224]))
        # truncating the longer side after it lost its ends may move the crop by half a sample
        tolerance = 0 if max(size) <= 4 * min(size) else 3
        assert np.abs(decode_square(path, 224).astype(int) - theirs).max() <= tolerance


COLOUR, GRAY = (200, 100, 50), 124  # and its luminance
DEEP = ("I;16", "I;16L", "I;16B")
KINDS = ("png", "tiff", "jpeg", "webp", "bmp", "gif", "ppm")


def file_of(mode: str, kind: str) -> io.BytesIO | None:
    """One colour in a mode of Pillow's, as a file; None where no such file can be."""
    image, file = Image.new("RGB", (32, 32), COLOUR), io.BytesIO()
    try:
        if mode in DEEP:
            image = Image.new(mode, (32, 32), GRAY * 257)
        else:
            image = image.convert(mode, dither=Image.Dither.NONE)
        image.save(file, kind, **({"lossless": True} if kind == "webp" else {}))
    except (OSError, ValueError, KeyError):
        return None
    return io.BytesIO(file.getvalue())


@pytest.mark.parametrize("mode", sorted({*Image.MODES, *DEEP, "La", "PA", "RGBa", "RGBX", "HSV"}))
def test_every_mode_of_every_kind_of_file_is_the_colour_or_named(mode):
    unknown = {"F": "32-bit floats", "I": "unknown range", "LAB": "colours in LAB"}
    for kind in KINDS:
        file = file_of(mode, kind)
        if file is None or (mode[0] == "I" and kind in ("webp", "gif")):  # written as white
            continue
        if (mode, kind) == ("YCbCr", "tiff") and int(PIL.__version__.partition(".")[0]) < 13:
            continue  # which earlier versions write and do not read
        held = Image.open(file).mode
        if held in unknown and not (held == "I" and kind == "ppm"):
            with pytest.raises(InputError, match=f"at a.file, got: .*{unknown[held]}") as caught:
                decode_square(file, 32, address="a.file")
            assert "Hint: convert it to 8-bit RGB" in str(caught.value)
            continue
        deep = kind == "ppm" or held == "I;16"  # 124 of 65535 is 0
        gray = {"1": 0, "I": 0 if deep else GRAY}.get(mode, GRAY)
        wanted = (
            COLOUR
            if mode in ("CMYK", "HSV", "LAB", "P", "PA", "YCbCr") or mode[:3] == "RGB"
            else gray
        )
        seen = decode_square(file, 32, address="a.file").astype(int)
        assert np.abs(seen - wanted).max() <= 6, kind  # a palette of six levels, JPEG, YCbCr


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    ("depth", "kind", "row", "key", "right"),
    [
        (1, 0, b"\x00" * 2 + b"\xff" * 2, (0,), 255),
        (2, 0, b"\x55" * 4 + b"\xaa" * 4, (1,), 170),
        (4, 0, b"\x11" * 8 + b"\xaa" * 8, (1,), 170),
        (8, 0, b"\x0a" * 16 + b"\x96" * 16, (10,), 150),
        (16, 0, struct.pack(">32H", *[1000] * 16, *[40000] * 16), (1000,), 156),
        (8, 2, b"\x01\x02\x03" * 16 + b"\x96" * 48, (1, 2, 3), 150),
        (16, 2, struct.pack(">96H", *[256, 512, 768] * 16, *[40000] * 48), (256, 512, 768), 156),
    ],
)  # fmt: skip
def test_one_transparent_colour_becomes_white_at_every_depth(depth, kind, row, key, right):
    head = struct.pack(">IIBBBBB", 32, 32, depth, kind, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    file += chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    file += chunk(b"IDAT", zlib.compress((b"\0" + row) * 32)) + chunk(b"IEND", b"")
    seen = decode_square(io.BytesIO(file), 32)
    assert (seen[:, :16] == 255).all()
    assert (seen[:, 16:] == right).all()


def test_twelve_bits_of_a_tiff_scale():
    tags = [
        (256, 32),
        (257, 32),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 200),
        (277, 1),
        (278, 32),
        (279, 1536),
    ]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(
        struct.pack("<HHII", tag, 4 if tag > 270 else 3, 1, value) for tag, value in tags
    )
    white = head + bytes(4) + bytes(200 - len(head) - 4) + b"\xff" * 1536
    assert (decode_square(io.BytesIO(white), 32) == 255).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"P5 0 10 255\n", "got: .*"),
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<html>", "web page"),
        (b"P5 20000 20000 255\n", "too large: shrink it first"),
        (b"P5 20 20 255\n123", "may be truncated"),
        (b"P5 20 20 " + b"9" * 5000 + b"\n", "a.pgm"),
    ],
)
def test_what_is_no_image_says_why(content, message):
    with pytest.raises(InputError, match=message) as caught:
        decode_square(io.BytesIO(content), 32, address="a.pgm")
    assert "at a.pgm, got: " in str(caught.value)
    assert "\nHint: " in str(caught.value)


def test_sixteen_bits_scale_and_transparency_is_white_and_exif_turns(tmp_path):
    levels = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    Image.fromarray(levels).save(tmp_path / "deep.png")
    deep = decode_square(tmp_path / "deep.png", 32)
    assert np.array_equal(deep[..., 1], (levels / 257).round())

    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    clear.putpixel((3, 5), (10, 20, 30, 255))
    clear.save(tmp_path / "clear.png")
    seen = decode_square(tmp_path / "clear.png", 32)
    assert seen[5, 3].tolist() == [10, 20, 30]
    assert (seen.reshape(-1, 3) == 255).all(1).sum() == 1023

    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    left = Image.new("L", (32, 32), 0)
    left.paste(255, (0, 0, 8, 32))
    left.save(tmp_path / "turned.png", exif=exif)
    turned = decode_square(tmp_path / "turned.png", 32)
    assert (turned[:8] == 255).all()
    assert (turned[8:] == 0).all()


def test_floats_have_no_known_range(tmp_path):
    Image.fromarray(np.ones((32, 32), dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(InputError, match="range is not known"):
        decode_square(tmp_path / "float.tiff", 32)
