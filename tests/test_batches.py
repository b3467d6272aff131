"""Batches for training: what they hold, mirrored and shifted."""

import hashlib
import time
from itertools import chain

import pytest
import torch
from opened import everything
from tiny import TinyData

from core.data import open_data
from core.data.batches import Batches, shifted, statistics
from core.errors import InputError


def test_statistics_are_numpys():
    data = open_data("digits")
    pixels = everything(data, "train")[0].numpy() / 255
    mean, std = statistics(data)
    assert mean == pytest.approx([pixels.mean()])
    assert std == pytest.approx([pixels.std()])


def test_an_epoch_of_photos_is_the_split_with_some_images_mirrored():
    data = open_data("photos", side=32)
    images, labels = everything(data, "train")
    order = torch.Generator().manual_seed(0)
    batches = Batches(data, batch_size=64, generator=order, device=torch.device("cpu"))
    made = list(batches)
    assert len(made) == len(batches) == 125
    epoch, epoch_labels = (torch.cat(part) for part in zip(*made, strict=True))

    def keys(x):
        return [hashlib.md5(one.numpy().tobytes()).hexdigest() for one in x]

    plain = dict(zip(keys(images), labels.tolist(), strict=True))
    mirrored = dict(zip(keys(images.flip(3)), labels.tolist(), strict=True))
    n_plain = 0
    levels = (epoch * 255).round().to(torch.uint8)
    for key, label in zip(keys(levels), epoch_labels.tolist(), strict=True):
        n_plain += key in plain
        assert label == plain.get(key, mirrored.get(key))
    assert 3600 < n_plain < 4400


def test_shifting_moves_pixels_and_fills_with_zero():
    images = torch.randint(1, 256, (3, 2, 8, 8), dtype=torch.uint8)
    moves = torch.tensor([[2, 0, 4], [2, 1, 4]])
    made = shifted(images, moves, by=2)
    assert torch.equal(made[0], images[0])
    assert torch.equal(made[1, :, 2:, 1:], images[1, :, :6, :7])
    assert (made[1, :, :2] == 0).all()
    assert torch.equal(made[2, :, :6, :6], images[2, :, 2:, 2:])


class Folder(TinyData):
    """Read as it goes."""

    spec = "imagefolder:tiny"

    def __init__(self, torn=None):
        self.read, self.torn = [], torn

    def batch(self, split, ids):
        self.read.append(list(ids))
        if len(self.read) == self.torn:
            raise InputError("a torn image")
        return super().batch(split, ids)


def test_a_folder_is_read_one_batch_ahead_and_no_further():
    folder = Folder()
    order = torch.Generator().manual_seed(3)
    batches = Batches(folder, batch_size=8, generator=order, device=torch.device("cpu"))
    parts = [part.tolist() for part in batches.order().split(8)]
    for number, (_, labels) in enumerate(
        batches.of(torch.tensor(list(chain(*parts))), first=1), start=1
    ):
        assert torch.equal(labels, TinyData().batch("train", parts[number])[1])
        wanted = parts[1 : number + 2]
        while len(folder.read) < len(wanted):  # the thread may be late
            time.sleep(0.001)
        assert folder.read == wanted
    assert number == len(batches) - 1 == 5


def test_a_torn_image_is_an_error_where_its_batch_is_wanted():
    batches = Batches(
        Folder(torn=2), batch_size=16, generator=torch.Generator(), device=torch.device("cpu")
    )
    epoch = iter(batches)
    next(epoch)
    with pytest.raises(InputError, match="a torn image"):
        next(epoch)
