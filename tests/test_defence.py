"""The exported defence in front of a model and in a torchvision pipeline."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from core import codec
from core.codec import qtable
from core.defences.transform import TableDefence
from core.errors import InputError

TABLE = qtable.Defensive(pattern=2, qs_of=16, qs_af=51).table()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(
        0, 256, (5, 3, 20, 17), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_two_lines_from_file_to_defended_model(images, tmp_path):
    path = tmp_path / "winner.qtable.txt"
    path.write_text(qtable.to_text(TABLE, comment="winner"))
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
    robust = nn.Sequential(TableDefence.load(path), model)
    expected = model(codec.compress(images / 255, TABLE))
    assert torch.equal(robust(images / 255), expected)


def test_types_and_shapes_are_kept(images):
    defence = TableDefence(TABLE)
    whole = defence(images)
    assert whole.dtype == torch.uint8
    assert torch.equal(defence(images[0]), whole[0])
    assert torch.equal(defence(images.reshape(5, 1, 3, 20, 17))[:, 0], whole)
    assert torch.equal(codec.to_images8(defence(images / 255)), whole)
    assert defence((images / 255).double()).dtype == torch.float64


def test_sits_in_a_torchvision_pipeline(images):
    picture = Image.fromarray(np.ascontiguousarray(images[0].permute(1, 2, 0)))
    pipeline = v2.Compose(
        [v2.ToImage(), TableDefence(TABLE), v2.ToDtype(torch.float32, scale=True)]
    )
    out = pipeline(picture)
    assert isinstance(out, tv_tensors.Image)
    expected = codec.compress(images[:1] / 255, TABLE)[0]
    torch.testing.assert_close(out.as_subclass(torch.Tensor), expected)


def test_the_table_travels_with_the_weights(images):
    other = TableDefence(qtable.uniform(1))
    other.load_state_dict(TableDefence(TABLE).state_dict())
    assert torch.equal(other(images), TableDefence(TABLE)(images))


PIXELS = torch.full((3, 8, 8), 0.5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (PIXELS - 1.5, r"must lie in \[0, 1\], got \[-1, -1\](.|\n)*normalised"),
        (PIXELS * 5 - 0.7, "normalised"),
        (PIXELS * torch.nan, r"must lie in \[0, 1\], got \[nan(.|\n)*divided by zero"),
        (PIXELS * torch.inf, "divided by zero"),
        (PIXELS * 400, "got .200, 200.(.|\n)*divide by 255"),
        (PIXELS + 0.502, r"1\.002(.|\n)*clamp\(0, 1\)"),
        (PIXELS - 0.57, r"-0\.0(.|\n)*clamp\(0, 1\)"),
        (torch.zeros(8, 8), "expected .* images"),
        (torch.zeros(8, 8, 3), r"\[h, w, c\]"),
        (torch.zeros(2, 8, 8, 1, dtype=torch.uint8), r"\[h, w, c\]"),
        (torch.zeros(4, 8, 8), "RGBA"),
        (torch.zeros(2, 8, 8), "1 or 3 channels"),
        (torch.zeros(3, 0, 8), r"\[3, 0, 8\]"),
        (torch.zeros((3, 8, 8), dtype=torch.int64), "torch.int64"),
        (torch.zeros((3, 8, 8), dtype=torch.bool), "torch.bool"),
        (torch.zeros((3, 8, 8), dtype=torch.complex64), "torch.complex64"),
        (Image.new("RGBA", (8, 8)), r"PIL's Image(.|\n)*of mode RGBA(.|\n)*convert"),
        (np.zeros((3, 8, 8), np.uint8), "numpy's ndarray(.|\n)*ToImage"),
        ([[0.5]], "builtins's list"),
        (None, "NoneType"),
    ],
)
def test_bad_images_are_named(bad, message):
    with pytest.raises(InputError, match=message) as caught:
        TableDefence(TABLE)(bad)
    assert "\nHint: " in str(caught.value)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_rounding_beyond_black_and_white_is_taken_for_them(kind):
    beyond = torch.zeros(3, 8, 8, dtype=kind)
    beyond[:, :4] = 1
    exact = TableDefence(TABLE)(beyond)
    beyond[:, 1] += 1e-6 if kind in (torch.float32, torch.float64) else 0
    beyond[:, 5] = -1e-6
    assert torch.equal(TableDefence(TABLE)(beyond), exact)
    assert exact.dtype == kind


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_no_images_come_out_as_none(kind):
    assert TableDefence(TABLE)(torch.zeros(0, 3, 8, 8, dtype=kind)).shape == (0, 3, 8, 8)
