"""From an image file of any kind to a square of 8-bit RGB."""

import numpy as np
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


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *[("L", "png"), ("1", "png"), ("P", "png"), ("LA", "png"), ("RGBA", "png")],
        *[("CMYK", "jpeg"), ("I;16", "png"), ("I;16", "tiff"), ("P", "gif")],
    ],
)
def test_every_mode_becomes_the_same_colour(mode, kind, tmp_path):
    path = tmp_path / f"image.{kind}"
    if mode == "I;16":
        Image.fromarray(np.full((32, 32), 255 * 257, dtype=np.uint16)).save(path)
    else:
        Image.new("RGB", (32, 32), (255, 255, 255)).convert(mode).save(path)
    assert (decode_square(path, 32) >= 254).all()  # JPEG may be a level off


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
