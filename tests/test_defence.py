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


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(3, 8, 8) - 1.0, r"must lie in \[0, 1\], got \[-1.00, -1.00\]"),
        (torch.full((3, 8, 8), torch.nan), r"must lie in \[0, 1\]"),
        (torch.zeros(8, 8), "expected .* images"),
        (torch.zeros((3, 8, 8), dtype=torch.int64), "torch.int64"),
    ],
)
def test_bad_images_are_named(bad, message):
    with pytest.raises(InputError, match=message):
        TableDefence(TABLE)(bad)
