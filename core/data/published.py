"""MNIST, Fashion-MNIST and CIFAR from the files that torchvision downloads."""

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np

from core.data.arrays import ArrayData, Pool
from core.data.base import only_side
from core.errors import InputError

N_HELD_OUT = 10_000  # training images kept back for the search
FOLDERS = {  # below the root, as torchvision lays them out
    "mnist": "MNIST/raw",
    "fashion_mnist": "FashionMNIST/raw",
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
}
# Of the training images: many data sets come in files called and laid out like MNIST's.
MNIST_SHA256 = {
    "mnist": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "fashion_mnist": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
}


def default_root() -> Path:
    """`$XDG_CACHE_HOME/qtable-sweeps/data`, or the same under `~/.cache`."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(cache or Path.home() / ".cache") / "qtable-sweeps" / "data"


def open_published(
    spec: str, *, side: int | None, seed: int, root: str | Path | None, download: bool
) -> ArrayData:
    """`mnist`, `fashion_mnist` (28, gray), `cifar10`, `cifar100` (32, colour), as torchvision's.

    `train` is the training set less 10,000 images that the seed holds out for `search`; `report` is
    the test set. `root` (default: `default_root()`) holds `MNIST/raw`, `FashionMNIST/raw` or
    `cifar-10-batches-py`. InputError if files are missing and `download` is False, damaged, of
    another data set, or cannot be fetched.
    """
    only_side(spec, side, (28,) if spec in MNIST_SHA256 else (32,))
    folder = default_root() if root is None else Path(root).expanduser()
    read = _read_mnist if spec in MNIST_SHA256 else _read_cifar
    training, test, classes = read(spec, folder, download)
    n_training = len(training.labels)
    if n_training <= N_HELD_OUT:
        raise InputError(
            f"expected more than {N_HELD_OUT} training images for {spec!r}, got {n_training}.\n"
            f"Hint: the files in {folder} are not the published ones; remove them and use "
            "--download."
        )
    order = np.random.default_rng([seed, n_training]).permutation(n_training)
    reported = np.random.default_rng([seed, 1]).permutation(len(test.labels))
    held = (f"{spec}/train", training)
    return ArrayData(
        spec=spec,
        classes=classes,
        pools={"train": held, "search": held, "report": (f"{spec}/test", test)},
        picks={"train": order[N_HELD_OUT:], "search": order[:N_HELD_OUT], "report": reported},
    )


def _read_mnist(spec: str, root: Path, download: bool) -> tuple[Pool, Pool, tuple[str, ...]]:
    from torchvision.datasets import mnist  # noqa: PLC0415 - seconds that most data do without

    kind = mnist.MNIST if spec == "mnist" else mnist.FashionMNIST
    raw = root / FOLDERS[spec]
    what = ("images-idx3", "labels-idx1")
    files = [[raw / f"{part}-{kind}-ubyte" for kind in what] for part in ("train", "t10k")]
    if not all(file.is_file() for pair in files for file in pair):
        _fetch(spec, root, download, lambda: kind(root, download=True))
    pools = []
    for images, labels in files:
        try:
            pixels = mnist.read_image_file(str(images)).numpy()
            targets = mnist.read_label_file(str(labels)).numpy()
        except (OSError, ValueError, AssertionError, RuntimeError, IndexError, KeyError) as cause:
            raise _damaged(spec, images, str(cause)) from cause
        if len(pixels) != len(targets) or pixels.shape[1:] != (28, 28):
            raise _damaged(spec, images, f"{pixels.shape} images and {len(targets)} labels")
        pools.append(Pool(images=pixels[:, None], labels=targets.astype(np.int64)))
    first = files[0][0]
    if hashlib.sha256(first.read_bytes()).hexdigest() != MNIST_SHA256[spec]:
        raise InputError(
            f"expected the published images of {spec!r} in {first}, found others of the same form."
            "\nHint: mnist lies in MNIST/raw, fashion_mnist in FashionMNIST/raw; images of your "
            "own go into a folder for each class: imagefolder:PATH."
        )
    names = tuple("0123456789") if spec == "mnist" else tuple(kind.classes)
    return pools[0], pools[1], names


def _read_cifar(spec: str, root: Path, download: bool) -> tuple[Pool, Pool, tuple[str, ...]]:
    from torchvision.datasets import CIFAR10, CIFAR100  # noqa: PLC0415 - as above

    # The published CIFAR files are pickles. torchvision unpickles them only after their MD5 agrees
    # with the published one, so what is executed is what its authors published and nothing else.
    kind = CIFAR10 if spec == "cifar10" else CIFAR100
    if not (root / FOLDERS[spec]).is_dir():
        _fetch(spec, root, download, lambda: kind(root, download=True))
    try:
        parts = [kind(root, train=train) for train in (True, False)]
    except (RuntimeError, OSError, pickle.UnpicklingError, KeyError, ValueError) as cause:
        raise _damaged(spec, root / FOLDERS[spec], str(cause)) from cause
    pools = []
    for part in parts:
        labels = np.asarray(part.targets, dtype=np.int64)
        pools.append(
            Pool(images=np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), labels=labels)
        )
    return pools[0], pools[1], tuple(parts[0].classes)


def _fetch(spec: str, root: Path, download: bool, fetch: Callable[[], object]) -> None:
    if not download:
        raise InputError(
            f"expected the files of {spec!r} under {root}, found none or not all of them.\n"
            "Hint: --download fetches them there, --data-root names another folder."
        )
    try:
        fetch()
    except (URLError, OSError, RuntimeError) as cause:
        raise InputError(
            f"expected to download {spec!r} to {root}, got: {cause}\n"
            "Hint: fetch it on a machine with network and name the folder with --data-root."
        ) from cause


def _damaged(spec: str, path: Path, found: str) -> InputError:
    return InputError(
        f"expected the published files of {spec!r} at {path}, found others, or damaged: {found}\n"
        "Hint: remove that folder and use --download, or name another folder with --data-root."
    )
