"""MNIST and CIFAR, on small files of the same format that the test writes."""

import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from opened import everything, fault
from torchvision import datasets

from core.data import SPLITS, open_data, published


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


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_mnist_holds_search_images_out_of_training(tmp_path, monkeypatch):
    images, labels = write_mnist(tmp_path, 30, 8)
    file = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    monkeypatch.setitem(published.MNIST_SHA256, "mnist", digest_of(file))
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


def test_what_only_looks_like_mnist_is_refused_and_fashion_has_a_name_of_its_own(
    tmp_path, monkeypatch
):
    write_mnist(tmp_path, 30, 8)
    monkeypatch.setattr(published, "N_HELD_OUT", 10)
    fault("found others of the same form", "mnist", root=tmp_path)
    fault("--data-root", "fashion_mnist", root=tmp_path)
    (tmp_path / "MNIST").rename(tmp_path / "FashionMNIST")
    fault("fashion_mnist in FashionMNIST/raw", "fashion_mnist", root=tmp_path)
    file = tmp_path / "FashionMNIST/raw/train-images-idx3-ubyte"
    monkeypatch.setitem(published.MNIST_SHA256, "fashion_mnist", digest_of(file))
    assert open_data("fashion_mnist", root=tmp_path).classes[0] == "T-shirt/top"


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
