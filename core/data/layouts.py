"""How image folders are laid out: which files there are and what class each belongs to."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.data.tree import SUFFIXES, Tree, is_image
from core.errors import InputError

_AFTER = r"[\W_\d]*(sets?|data|dataset|images|imgs|split|folder)?[\W_\d]*"
_SPLIT = re.compile(
    r"(.*[\W_\d])?((?P<train>train|training|trn)|(?P<val>val|valid|validation|dev|eval|evaluation)"
    rf"|(?P<test>test|testing|tst|pred|holdout)){_AFTER}",
    re.IGNORECASE,
)
CLASSES = "classes.txt"  # beside the classes: all that the network knows, a name a line
GROUPS = "groups.csv"  # beside the classes: the columns image, a path below the root, and group
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

    def relabelled(self, before: Sequence[str], names: Sequence[str]) -> "Files":
        """The same, where a label is a position among `names` instead of among those before."""
        place = {name: label for label, name in enumerate(names)}
        return Files(paths=self.paths, labels=tuple(place[before[i]] for i in self.labels))


def class_names(tree: Tree, folder: str) -> tuple[str, ...]:
    """Names of the class folders, sorted: so ImageNet's labels agree with published weights."""
    names = tuple(sorted(own for own, kind in tree.inside(folder).items() if kind == "a folder"))
    if len(names) < 2:
        raise InputError(
            f"expected at least two class folders in {tree.address(folder)}, found {len(names)}.\n"
            "Hint: put the images of each class into a folder of its own: PATH/<class>/<image>."
        )
    return names


def listed_classes(tree: Tree, folders: Sequence[str]) -> tuple[str, ...]:
    """All classes of the network, in its order, as a file `classes.txt` says; else the folders.

    InputError for a file that lacks a folder, names one twice or is no text.
    """
    if tree.kind(CLASSES) != "a file":
        return tuple(folders)
    try:
        lines = tree.read(CLASSES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as cause:
        raise InputError(
            f"expected lines of UTF-8 in {tree.address(CLASSES)}, found {cause}.\n"
            "Hint: one class a line, in the order of the network's outputs."
        ) from cause
    names = tuple(name for line in lines if (name := line.strip()))
    twice = sorted({name for name in names if names.count(name) > 1})
    if lacking := sorted(set(folders) - set(names)) or twice:
        raise InputError(
            f"expected each class folder once in {tree.address(CLASSES)}, found "
            f"{lacking[0]!r} {'twice' if lacking == twice else 'in no line'} ({len(names)} lines, "
            f"{len(folders)} folders).\n"
            "Hint: one class a line, called as its folder, in the order of the network's outputs."
        )
    return names


def split_of(name: str) -> str | None:
    """Which split a folder of that name holds, as people call them; None for any other name."""
    match = _SPLIT.fullmatch(name)
    return None if match is None else next(kind for kind, text in match.groupdict().items() if text)


def is_class(tree: Tree, name: str) -> bool:
    """Whether a folder called `train` or `val` is a class: it holds images beside other classes."""
    others = (own for own, kind in tree.inside("").items() if kind == "a folder")
    if all(split_of(other) for other in others):
        return False
    return any(kind == "a file" and is_image(own) for own, kind in tree.inside(name).items())


def check_no_splits(tree: Tree, names: Sequence[str]) -> None:
    """Raise an `InputError` if class folders are called as splits are."""
    splits = [name for name in names if split_of(name)]
    if len({split_of(name) for name in splits}) > 1:
        one = min(splits, key=lambda name: split_of(name) != "train")
        raise InputError(
            f"expected a folder for each class in {tree.address()}, found what looks like splits: "
            f"{', '.join(splits)}.\n"
            f"Hint: call them train and val (links will do); or imagefolder:"
            f"{tree.address(one)} divides the images of one of them."
        )


def files_by_class(tree: Tree, folder: str, classes: Sequence[str]) -> Files:
    """All images below `folder/<class>`, at any depth, sorted within each class, none empty."""
    paths: list[str] = []
    labels: list[int] = []
    for label, files in enumerate(tree.files(folder, classes)):
        found = sorted(file for file in files if is_image(file))
        if not found:
            empty = tree.address(f"{folder}/{classes[label]}".lstrip("/"))
            others = f"{len(files)} files of other kinds, such as {min(files)}" if files else "none"
            raise InputError(
                f"expected images in {empty}, found {others}.\n"
                f"Hint: images end in {', '.join(sorted(SUFFIXES))}; a folder that is no class "
                "belongs elsewhere."
            )
        paths += found
        labels += [label] * len(found)
    return Files(paths=tuple(paths), labels=tuple(labels))


def is_annotated(tree: Tree) -> bool:
    """Whether the validation set is laid out as Tiny ImageNet's."""
    return tree.kind(ANNOTATIONS) == "a file" and tree.kind(ANNOTATED) == "a folder"


def annotations(tree: Tree) -> list[tuple[str, str]]:
    """File and class of each line, sorted; what follows them on a line is a bounding box."""
    lines = tree.read(ANNOTATIONS).decode("utf-8-sig", errors="replace").splitlines()
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


def groups(tree: Tree, files: Files) -> Mapping[str, str]:
    """The group of each image, as a file `groups.csv` says; empty where there is none.

    InputError for a file that is no such table, or that lacks an image.
    """
    if tree.kind(GROUPS) != "a file":
        return {}
    try:
        table = csv.DictReader(tree.read(GROUPS).decode("utf-8-sig").splitlines(), strict=True)
        found = {row["image"]: row["group"] for row in table}
    except (KeyError, UnicodeDecodeError, csv.Error) as cause:
        raise InputError(
            f"expected a table with the columns image and group in {tree.address(GROUPS)}, found "
            f"{cause}.\nHint: UTF-8, commas, and the names of the columns in its first line."
        ) from cause
    if lacking := [path for path in files.paths if not found.get(path)]:
        raise InputError(
            f"expected a group for each image in {tree.address(GROUPS)}, found none for "
            f"{len(lacking)} of {len(files.paths)}, such as {lacking[0]}.\n"
            "Hint: image is the path below the folder; an image on its own has a group of its own."
        )
    return found
