"""How image folders are laid out: which files there are and what class each belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.data.tree import Tree
from core.errors import InputError

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
ANNOTATIONS, ANNOTATED = "val/val_annotations.txt", "val/images"  # Tiny ImageNet's


@dataclass(frozen=True, kw_only=True)
class Files:
    """Image files as paths below the root ("/" between the parts), and the label of each."""

    paths: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()

    def pick(self, positions: Sequence[int]) -> "Files":
        """Those at the positions, in that order."""
        paths = tuple(self.paths[i] for i in positions)
        return Files(paths=paths, labels=tuple(self.labels[i] for i in positions))


def is_image(name: str) -> bool:
    """Whether the name ends as an image's does."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def class_names(tree: Tree, folder: str) -> tuple[str, ...]:
    """Names of the class folders, sorted: so ImageNet's labels agree with published weights."""
    names = tuple(sorted(name for name in tree.folders(folder) if not name.startswith(".")))
    if len(names) < 2:
        raise InputError(
            f"expected at least two class folders in {tree.address(folder)}, found {len(names)}.\n"
            "Hint: put the images of each class into a folder of its own: PATH/<class>/<image>."
        )
    return names


def files_by_class(tree: Tree, folder: str, classes: Sequence[str]) -> Files:
    """All images below `folder/<class>`, at any depth, sorted within each class, none empty."""
    paths: list[str] = []
    labels: list[int] = []
    for label, files in enumerate(tree.files(folder, classes)):
        found = sorted(file for file in files if is_image(file))
        if not found:
            empty = tree.address(f"{folder}/{classes[label]}".lstrip("/"))
            raise InputError(
                f"expected images in {empty}, found none.\n"
                f"Hint: remove the empty class folder, or use one of {', '.join(sorted(SUFFIXES))}."
            )
        paths += found
        labels += [label] * len(found)
    return Files(paths=tuple(paths), labels=tuple(labels))


def is_annotated(tree: Tree) -> bool:
    """Whether the validation set is laid out as Tiny ImageNet's."""
    return tree.kind(ANNOTATIONS) == "a file" and tree.kind(ANNOTATED) == "a folder"


def annotations(tree: Tree) -> list[tuple[str, str]]:
    """File and class of each line, sorted; what follows them on a line is a bounding box."""
    lines = tree.read(ANNOTATIONS).decode().splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows or any(len(row) < 2 for row in rows):
        raise InputError(
            f"expected lines of file, tab, class in {tree.address(ANNOTATIONS)}, found others or "
            "none.\nHint: unpack the archive again."
        )
    return sorted((row[0], row[1]) for row in rows)


def annotated_files(tree: Tree, classes: Sequence[str]) -> Files:
    """Tiny ImageNet's validation images; an InputError for an unknown class or a missing image."""
    index = {name: label for label, name in enumerate(classes)}
    there, lines = tree.entries(ANNOTATED), annotations(tree)
    wrong = [file for file, name in lines if file not in there or name not in index]
    if wrong:
        raise InputError(
            f"expected an image in {tree.address(ANNOTATED)} and a known class for each line of "
            f"{tree.address(ANNOTATIONS)}, found {len(wrong)} without, such as {wrong[0]}.\n"
            "Hint: unpack the archive again; some files are missing."
        )
    paths = tuple(f"{ANNOTATED}/{file}" for file, _ in lines)
    return Files(paths=paths, labels=tuple(index[name] for _, name in lines))
