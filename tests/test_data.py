"""Every loader on real files, or on small files of the same format that the test writes."""

import hashlib
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision import datasets, transforms
from torchvision.transforms import functional as tvf

from core.data import SPLITS, Data, open_data, photos, published
from core.data.batches import Batches, shifted, statistics
from core.data.decode import decode_square
from core.errors import InputError


def everything(data: Data, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    return data.batch(split, range(data.size(split)))


def fault(hint: str, *args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        open_data(*args, **kwargs)
    text = str(caught.value)
    assert text.startswith("expected ")
    assert "\nHint: " in text
    assert hint in text
    return text


# ---- digits


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


# ---- photos


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


# ---- MNIST and CIFAR


def write_mnist(root: Path, n_train: int, n_test: int) -> tuple[np.ndarray, np.ndarray]:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for part, n in (("t10k", n_test), ("train", n_train)):
        images = random.integers(256, size=(n, 28, 28), dtype=np.uint8)
        labels = random.integers(10, size=n, dtype=np.uint8)
        header = struct.pack(">IIII", 0x803, n, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, n) + labels.tobytes()
        )
    return images, labels


def test_mnist_holds_search_images_out_of_training(tmp_path, monkeypatch):
    images, labels = write_mnist(tmp_path, 30, 8)
    fault("--download", "mnist", root=tmp_path)
    monkeypatch.setattr(published, "N_HELD_OUT", 10)
    data = open_data("mnist", root=tmp_path)
    assert (data.side, data.channels, len(data.classes)) == (28, 1, 10)
    assert [data.size(split) for split in SPLITS] == [20, 10, 8]
    numbers = []
    for split in ("train", "search"):
        own, own_labels = everything(data, split)
        for i in range(data.size(split)):
            numbers.append(int(data.name(split, i).removeprefix("mnist/train/")))
            assert np.array_equal(own[i, 0].numpy(), images[numbers[-1]])
            assert own_labels[i] == labels[numbers[-1]]
    assert sorted(numbers) == list(range(30))
    assert data.name("report", 0).startswith("mnist/test/")


def test_truncated_and_missing_mnist_files_are_named(tmp_path, monkeypatch):
    fault("--data-root", "mnist", root=tmp_path)
    write_mnist(tmp_path, 30, 8)
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    monkeypatch.setattr(published, "N_HELD_OUT", 10)
    assert str(file) in fault("damaged", "mnist", root=tmp_path)


def test_a_download_without_network_says_what_to_do(tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(datasets.mnist, "download_and_extract_archive", offline)
    fault("--data-root", "mnist", root=tmp_path, download=True)


def write_cifar(kind: type, root: Path, monkeypatch) -> dict[str, np.ndarray]:
    """Ten images a file, and the published checksums replaced by those of the written files."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    key = "labels" if kind is datasets.CIFAR10 else "fine_labels"
    pixels: dict[str, np.ndarray] = {}
    for attribute in ("train_list", "test_list"):
        sums = []
        for name, _ in getattr(kind, attribute):
            pixels[name] = random.integers(256, size=(10, 3072), dtype=np.uint8)
            entry = {"data": pixels[name], key: [i % 10 for i in range(10)]}
            text = pickle.dumps(entry)
            (folder / name).write_bytes(text)
            sums.append([name, hashlib.md5(text).hexdigest()])
        monkeypatch.setattr(kind, attribute, sums)
    meta = pickle.dumps({kind.meta["key"]: [f"class {i}" for i in range(10)]})
    (folder / kind.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": hashlib.md5(meta).hexdigest()})
    return pixels


@pytest.mark.parametrize("spec", ["cifar10", "cifar100"])
def test_cifar_planes_are_red_green_blue_row_by_row(spec, tmp_path, monkeypatch):
    kind = datasets.CIFAR10 if spec == "cifar10" else datasets.CIFAR100
    pixels = write_cifar(kind, tmp_path, monkeypatch)
    monkeypatch.setattr(published, "N_HELD_OUT", 4)
    data = open_data(spec, root=tmp_path)
    test = next(reversed(pixels.values())).reshape(-1, 3, 32, 32)
    images, labels = everything(data, "report")
    for i in range(10):
        number = int(data.name("report", i).removeprefix(f"{spec}/test/"))
        assert np.array_equal(images[i].numpy(), test[number])
        assert labels[i] == number
    names = {data.name(s, i) for s in ("train", "search") for i in range(data.size(s))}
    assert len(names) == data.size("train") + 4 == 10 * (len(pixels) - 1)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_a_cifar_file_with_another_checksum_is_never_unpickled(tmp_path, monkeypatch):
    write_cifar(datasets.CIFAR10, tmp_path, monkeypatch)
    marker = tmp_path / "executed"
    target = tmp_path / "cifar-10-batches-py"
    (target / "data_batch_3").write_bytes(pickle.dumps(Bomb(marker)))
    fault("--download", "cifar10", root=tmp_path)
    assert not marker.exists()
    fault("--download", "cifar100", root=tmp_path)


# ---- image folders


def picture(path: Path, size: tuple[int, int] = (40, 30), level: int = 0, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 100, 200)).save(path, **options)


def imagenet(root: Path, n_train: int = 3, n_val: int = 5) -> None:
    for label, name in enumerate(("n02", "n01", "n03")):
        for i in range(n_train):
            picture(root / "train" / name / f"{i}.JPEG", level=80 * label)
        for i in range(n_val):
            picture(root / "val" / name / f"v{i}.png", (31 + i, 57), level=10 * i)


def test_imagenet_layout_halves_val_class_by_class(tmp_path):
    imagenet(tmp_path)
    data = open_data(f"imagefolder:{tmp_path}", side=32)
    theirs = datasets.ImageFolder(str(tmp_path / "val"))
    label_of = {str(Path(p).relative_to(tmp_path)): label for p, label in theirs.samples}
    assert list(data.classes) == theirs.classes
    seen: list[str] = []
    for split in ("search", "report"):
        labels = everything(data, split)[1]
        names = [data.name(split, i) for i in range(data.size(split))]
        assert labels.tolist() == [label_of[name] for name in names]
        assert torch.bincount(labels).min() >= 2
        seen += names
    assert sorted(seen) == sorted(label_of)
    assert data.size("train") == 9
    assert all(data.name("train", i).startswith("train/") for i in range(9))
    assert data.batch("train", range(9))[0].shape == (9, 3, 32, 32)


def test_a_changed_folder_changes_the_fingerprint(tmp_path):
    imagenet(tmp_path)
    first = open_data(f"imagefolder:{tmp_path}", side=32).fingerprint
    assert first == open_data(f"imagefolder:{tmp_path}", side=32).fingerprint
    assert first != open_data(f"imagefolder:{tmp_path}", side=32, seed=1).fingerprint
    picture(tmp_path / "train" / "n01" / "0.JPEG", (90, 90))
    assert first != open_data(f"imagefolder:{tmp_path}", side=32).fingerprint


def test_val_alone_leaves_training_empty(tmp_path):
    imagenet(tmp_path, n_train=0)
    data = open_data(f"imagefolder:{tmp_path}", side=32)
    assert [data.size(split) for split in SPLITS] == [0, 8, 7]
    assert data.batch("train", [])[0].shape == (0, 3, 32, 32)


def test_tiny_imagenet_reads_its_annotations(tmp_path):
    lines = []
    for label, name in enumerate(("n7", "n5")):
        picture(tmp_path / "train" / name / "images" / f"{name}_0.JPEG", (64, 64))
        for i in range(4):
            picture(tmp_path / "val" / "images" / f"val_{label}{i}.JPEG", (64, 64))
            lines.append(f"val_{label}{i}.JPEG\t{name}\t0\t32\t44\t62\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("".join(lines))
    data = open_data(f"imagefolder:{tmp_path}", side=64)
    assert data.classes == ("n5", "n7")
    assert [data.size(split) for split in SPLITS] == [2, 4, 4]
    for split in ("search", "report"):
        for i, label in enumerate(everything(data, split)[1]):
            assert f"/val_{1 - label}" in data.name(split, i)
    (tmp_path / "val" / "images" / "val_00.JPEG").unlink()
    fault("unpack", f"imagefolder:{tmp_path}")


def test_plain_layout_divides_60_20_20(tmp_path):
    for name in ("cat", "dog"):
        for i in range(10):
            picture(tmp_path / name / f"{i}.jpg")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    data = open_data(f"imagefolder:{tmp_path}", side=16)
    names = {s: {data.name(s, i) for i in range(data.size(s))} for s in SPLITS}
    assert [len(names[split]) for split in SPLITS] == [12, 4, 4]
    assert len(set.union(*names.values())) == 20
    assert [torch.bincount(everything(data, s)[1]).tolist() for s in SPLITS] == [
        [6, 6],
        [2, 2],
        [2, 2],
    ]


def test_unusable_folders_say_what_is_wrong(tmp_path):
    fault("takes a folder", f"imagefolder:{tmp_path / 'nothing'}")
    fault("class folders", f"imagefolder:{tmp_path}")
    picture(tmp_path / "one" / "a.png")
    fault("found 1", f"imagefolder:{tmp_path}")
    (tmp_path / "two").mkdir()
    fault(str(tmp_path / "two"), f"imagefolder:{tmp_path}")
    picture(tmp_path / "two" / "b.png")
    fault("too few", f"imagefolder:{tmp_path}")
    fault("8..1024", f"imagefolder:{tmp_path}", side=0)
    imagenet(tmp_path / "net")
    picture(tmp_path / "net" / "val" / "n99" / "b.png")
    fault("n99", f"imagefolder:{tmp_path / 'net'}")
    imagenet(tmp_path / "half", n_val=0)
    fault("60/20/20", f"imagefolder:{tmp_path / 'half'}")


def test_a_corrupt_file_is_named(tmp_path):
    imagenet(tmp_path)
    data = open_data(f"imagefolder:{tmp_path}", side=32)
    name = data.name("search", 2)
    random = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    whole = io.BytesIO()
    Image.fromarray(random).save(whole, "png")
    for content in (whole.getvalue()[:-2000], b"", b"not an image"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            data.batch("search", [0, 2])


# ---- decoding


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


# ---- what is asked


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


# ---- batches for training


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
