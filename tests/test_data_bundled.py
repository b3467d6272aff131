"""Digits and photographs, and what no data set accepts."""

import pickle

import numpy as np
import pytest
import torch
from opened import everything, fault
from sklearn.datasets import load_digits

from core.data import SPLITS, Data, open_data, photos
from core.errors import InputError


def test_digits_are_scikit_learns_and_each_is_in_one_split():
    theirs = load_digits()
    data = open_data("digits")
    seen = {}
    for split in SPLITS:
        images, labels = everything(data, split)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            number = int(data.name(split, i).removeprefix("digits/"))
            assert number not in seen
            seen[number] = image
            assert label == theirs.target[number]
    assert len(seen) == 1797
    assert [data.size(split) for split in SPLITS] == [797, 600, 400]
    ours = torch.stack([seen[i] for i in range(1797)]).float()
    blocks = torch.nn.functional.avg_pool2d(ours, 4)[:, 0].flatten()
    small = torch.from_numpy(theirs.images).float().flatten() * (255 / 16)
    # bicubic enlarging keeps each block's mean up to overshoot
    assert torch.corrcoef(torch.stack([blocks, small]))[0, 1] > 0.98


def test_a_seed_fixes_the_splits_and_another_changes_the_fingerprint():
    for spec, side in (("digits", 32), ("photos", 32)):
        first, again = (open_data(spec, side=side, seed=3) for _ in range(2))
        other = open_data(spec, side=side, seed=4)
        assert first.fingerprint == again.fingerprint != other.fingerprint
        picks = [5, 0, 5, 17]
        torch.testing.assert_close(first.batch("search", picks), again.batch("search", picks))
        assert not torch.equal(first.batch("search", picks)[0], other.batch("search", picks)[0])
    copy = pickle.loads(pickle.dumps(first))
    assert copy.fingerprint == first.fingerprint
    assert isinstance(copy, Data)


def test_a_batch_is_its_images_one_by_one_and_none_is_an_empty_batch():
    data = open_data("photos", side=32)
    images, labels = data.batch("train", [7, 4000, 7])
    alone = [data.batch("train", [i]) for i in (7, 4000, 7)]
    assert torch.equal(images, torch.cat([one for one, _ in alone]))
    assert torch.equal(labels, torch.cat([one for _, one in alone]))
    assert data.batch("train", [])[0].shape == (0, 3, 32, 32)


@pytest.mark.parametrize("side", [32, 64, 224])
def test_no_pixel_of_a_photograph_is_in_two_tiles_and_every_split_has_some_of_each(side):
    data = photos.open_photos(side=side)
    n_tiles = {split: [len(own) for own in data.tiles[split]] for split in SPLITS}
    assert all(min(n) >= 1 for n in n_tiles.values())
    for label in range(10):
        used = np.zeros((1500, 1500), dtype=int)
        for split in SPLITS:
            for tile in data.tiles[split][label]:
                left, top, step = tile.box
                used[top : top + step, left : left + step] += 1
                assert tile.pixels.shape == (photos.TILE[side],) * 2 + (3,)
        assert used.max() == 1
        shares = [n_tiles[s][label] / sum(n_tiles[t][label] for t in SPLITS) for s in SPLITS]
        assert 0.5 <= shares[0] <= 0.7
        assert shares[1] == shares[2]


def test_crops_are_balanced_and_have_mean_128_and_deviation_48():
    data = open_data("photos", side=32)
    images, labels = data.batch("search", range(500))
    assert torch.bincount(labels).tolist() == [50] * 10
    raw = images.double()
    unclipped = ((raw > 0) & (raw < 255)).flatten(1).all(1)
    assert unclipped.sum() > 20
    kept = raw[unclipped]
    # rounding moves a mean by less than half a level
    assert (kept.mean((2, 3)) - 128).abs().max() < 0.5
    assert (kept.flatten(1).std(1, correction=0) - 48).abs().max() < 0.5


def test_a_crop_is_cut_from_a_tile_of_its_split():
    data = photos.open_photos(side=64)
    for index in (0, 1, 14):
        crop = data.batch("report", [index])[0][0].permute(1, 2, 0).numpy()
        found = 0
        for tile in data.tiles["report"][index % 10]:
            windows = np.lib.stride_tricks.sliding_window_view(tile.pixels, (64, 64, 3))[:, :, 0]
            flat = windows.reshape(-1, 64, 64, 3)
            for window in flat[:: 1 if len(data.tiles["report"][index % 10]) < 9 else 3]:
                centred = window - window.mean((0, 1))
                if abs(centred[0, 0, 0] / centred.std() * 48 + 128 - crop[0, 0, 0]) > 0.6:
                    continue
                made = (centred / centred.std() * 48 + 128).round().clip(0, 255)
                found += int(np.array_equal(made, crop))
        assert found >= 1


def test_a_crops_group_is_the_tile_that_it_lies_in_and_no_tile_is_in_two_splits():
    data, digits = photos.open_photos(side=64), open_data("digits")
    groups = {split: {data.group(split, i) for i in range(60)} for split in SPLITS}
    assert not groups["train"] & groups["search"]
    assert not groups["search"] & groups["report"]
    assert len(groups["report"]) > 20
    own = data.tiles["report"][3]
    left, top = data.group("report", 13).removeprefix("photos/coffee/").split(",")
    (tile,) = (tile for tile in own if tile.box[:2] == (int(left), int(top)))
    crop = data.batch("report", [13])[0][0].permute(1, 2, 0).numpy().astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(tile.pixels, (64, 64, 3))[:, :, 0]
    centred = (w - w.mean((0, 1)) for w in windows.reshape(-1, 64, 64, 3))
    best = max(np.corrcoef(w.ravel(), crop.ravel())[0, 1] for w in centred)
    assert best > 0.99  # the crop is scaled, rounded and clipped
    assert digits.group("search", 4) == digits.name("search", 4)
    assert not digits.grouped_by


def test_flat_crops_are_drawn_again(monkeypatch):
    data = photos.open_photos(side=32)
    black = np.zeros((96, 96, 3), dtype=np.uint8)
    half = black.copy()
    half[::2] = 9
    tiles = tuple(photos.Tile(box=(0, 0, 96), pixels=p) for p in (black, half))
    monkeypatch.setitem(data.tiles, "search", (tiles,) * 10)
    images, _ = data.batch("search", range(20))
    assert images.double().std((1, 2, 3)).min() > 40
    monkeypatch.setitem(data.tiles, "search", (tiles[:1],) * 10)
    assert (data.batch("search", range(20))[0] == 128).all()


def test_unknown_specs_sides_splits_and_positions_are_errors():
    for spec in ("imagenet", "", "digits:8", "imagefolder:", "mnist:x"):
        fault("imagefolder:PATH", spec) if spec != "imagefolder:" else fault("digits", spec)
    fault("32", "digits", side=64)
    fault("224", "photos", side=48)
    fault("28", "mnist", side=32)
    fault("--seed 0", "digits", seed=-1)
    data = open_data("digits")
    with pytest.raises(InputError, match="search"):
        data.size("test")
    for index in (-1, 400):
        with pytest.raises(InputError, match=rf"\[{index}\]"):
            data.batch("report", [0, index])
        with pytest.raises(InputError, match="holds 400"):
            data.name("report", index)
