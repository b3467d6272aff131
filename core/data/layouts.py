"""How image folders are laid out: which files there are and what class each belongs to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import InputError

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
ANNOTATIONS = "val_annotations.txt"


@dataclass(frozen=True, kw_only=True)
class Files:
    """Image files as paths below the root ("/" between the parts), and the label of each."""

    paths: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()

    def pick(self, positions: Sequence[int]) -> "Files":
        """Those at the positions, in that order."""
        return Files(
            paths=tuple(self.paths[i] for i in positions),
            labels=tuple(self.labels[i] for i in positions),
        )


def class_names(folder: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted: so ImageNet's labels agree with published weights."""
    entries = (entry for entry in os.scandir(folder) if not entry.name.startswith("."))
    names = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
    if len(names) < 2:
        raise InputError(
            f"expected at least two class folders in {folder}, found {len(names)}.\n"
            "Hint: put the images of each class into a folder of its own: PATH/<class>/<image>."
        )
    return names


def files_by_class(root: Path, folder: Path, classes: Sequence[str]) -> Files:
    """All images below `folder/<class>`, at any depth, sorted within each class.

    Raises:
        InputError: if a class has no image.
    """
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = _images(root, folder / name)
        if not found:
            raise InputError(
                f"expected images in {folder / name}, found none.\n"
                f"Hint: remove the empty class folder, or use one of {', '.join(sorted(SUFFIXES))}."
            )
        paths += found
        labels += [label] * len(found)
    return Files(paths=tuple(paths), labels=tuple(labels))


def annotated_classes(val: Path) -> tuple[str, ...]:
    """Class names in Tiny ImageNet's `val_annotations.txt`, sorted."""
    return tuple(sorted({name for _, name in _annotations(val)}))


def annotated_files(root: Path, val: Path, classes: Sequence[str]) -> Files:
    """Tiny ImageNet's validation images, with labels from `val_annotations.txt`.

    Raises:
        InputError: if a line names an unknown class, or an image that is not there.
    """
    index = {name: label for label, name in enumerate(classes)}
    there = {entry.name for entry in os.scandir(val / "images")}
    lines = sorted(_annotations(val))
    wrong = [file for file, name in lines if file not in there or name not in index]
    if wrong:
        raise InputError(
            f"expected an image in {val / 'images'} and a known class for each line of "
            f"{val / ANNOTATIONS}, found {len(wrong)} without, such as {wrong[0]}.\n"
            "Hint: unpack the archive again; some files are missing."
        )
    base = (val / "images").relative_to(root).as_posix()
    return Files(
        paths=tuple(f"{base}/{file}" for file, _ in lines),
        labels=tuple(index[name] for _, name in lines),
    )


def is_annotated(val: Path) -> bool:
    """Whether the folder is laid out as Tiny ImageNet's validation set."""
    return (val / ANNOTATIONS).is_file() and (val / "images").is_dir()


def _annotations(val: Path) -> list[tuple[str, str]]:
    """File and class of each line; what follows them on a line is a bounding box."""
    text = (val / ANNOTATIONS).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    if not rows or any(len(row) < 2 for row in rows):
        raise InputError(
            f"expected lines of file, tab, class in {val / ANNOTATIONS}, found others or none.\n"
            "Hint: unpack the archive again."
        )
    return [(row[0], row[1]) for row in rows]


def _images(root: Path, folder: Path) -> list[str]:
    found = []
    for place, inner, files in os.walk(folder, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        base = Path(place).relative_to(root).as_posix()
        found += [
            f"{base}/{file}"
            for file in files
            if not file.startswith(".") and Path(file).suffix.lower() in SUFFIXES
        ]
    return sorted(found)
