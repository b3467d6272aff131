"""Labelled images: opened from one line of text, in three disjoint splits, as uint8 batches."""

from pathlib import Path

from core.data.base import SPLITS, Data, Split
from core.data.bundled import bundled_file
from core.data.digits import DIGITS, open_digits
from core.data.folder import open_folder
from core.data.photos import PHOTOS, open_photos
from core.data.published import FOLDERS, default_root, open_published
from core.data.remote import unreachable
from core.data.uris import check_path, is_uri
from core.errors import InputError
from core.known import DATA, PUBLISHED

__all__ = ["SPLITS", "Data", "Split", "default_root", "is_uri", "open_data", "sources"]
__all__ += ["unreachable"]


def open_data(
    spec: str,
    *,
    side: int | None = None,
    seed: int = 0,
    root: str | Path | None = None,
    download: bool = False,
) -> Data:
    """Open the data set that `spec` names; InputError where that cannot be done.

    Args:
        spec: `digits`, `photos` (both come with the installed packages), `mnist`,
            `fashion_mnist`, `cifar10`, `cifar100` (below `root`), or `imagefolder:PATH`; PATH may
            be a URI that fsspec opens.
        side: height and width in pixels; None: 28 for the two mnist, 224 for folders, else 32.
        seed: fixes the splits, and the places of the crops of photos; not negative.
        root: where mnist and cifar lie; None is `default_root()`.
        download: fetch mnist or cifar when they are missing.
    """
    if seed < 0:
        raise InputError(f"expected a seed of 0 or more, got {seed}.\nHint: use --seed 0.")
    if "\0" in spec:
        raise InputError(
            f"expected data without NUL in the name, got {spec!r}.\nHint: mend the path."
        )
    if root is not None:
        check_path(str(root))
    kind, _, path = spec.partition(":")
    if kind == "imagefolder" and path:
        return open_folder(path, side=side, seed=seed)
    if spec == "digits":
        return open_digits(side=side, seed=seed)
    if spec == "photos":
        return open_photos(side=side, seed=seed)
    if spec in PUBLISHED:
        return open_published(spec, side=side, seed=seed, root=root, download=download)
    raise InputError(
        f"expected data among {', '.join(DATA)}, got {spec!r}.\n"
        "Hint: your own images go into one folder per class: imagefolder:/path/to/them or "
        "imagefolder:s3://bucket/folder."
    )


def sources(spec: str, *, root: str | Path | None = None) -> list[Path]:
    """Files and folders that hold every byte that a data set is made of, all small enough to read.

    None of an `imagefolder:`, which is known by its listing.
    """
    if spec == "digits":
        return [bundled_file(*DIGITS)]
    if spec == "photos":
        return [bundled_file(*place) for place in PHOTOS.values()]
    if spec in FOLDERS:
        return [Path(root or default_root()).expanduser() / FOLDERS[spec]]
    return []
