"""Images in folders: ImageNet, Tiny ImageNet, or one folder per class."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from core.data import layouts
from core.data.base import SPLITS, Split, as_split, check_indices
from core.data.layouts import Files
from core.data.remote import RemoteTree
from core.data.tree import LocalTree, Tree
from core.data.uris import check_path, is_uri
from core.digests import digest
from core.errors import InputError
from core.shapes import Images8, Labels

DEFAULT_SIDE = 224
SIDES = range(8, 1025)


@dataclass(frozen=True, kw_only=True)
class FolderData:
    """Images decoded when they are asked for. See `Data`.

    ImageNet's training folder holds 1.3 million files, so it is listed only when `train` is used.
    """

    tree: Tree
    side: int
    seed: int
    classes: tuple[str, ...]
    held: dict[Split, Files] = field(repr=False)  # all splits but a `train` that waits to be listed
    folders: tuple[str, ...] = field(repr=False)  # the classes that have images here
    groups: Mapping[str, str] = field(repr=False)  # by path; empty where nobody said
    channels: int = 3
    _sizes: dict[Split, list[int]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def spec(self) -> str:
        """The text that opened it, with the whole path or URI."""
        return f"imagefolder:{self.tree.address()}"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of paths, sizes in bytes, labels and splits; contents are not read."""
        listed = []
        for split in SPLITS:
            files = self._files(split)
            listed.append(sorted(zip(files.paths, self._bytes(split), files.labels, strict=True)))
        orders = [digest(*self._files(split).paths) for split in SPLITS]
        return digest("imagefolder", self.side, self.classes, listed, orders)

    def digest(self, split: str) -> str:
        """SHA-256 of one split's paths in its order, their sizes and labels, alone."""
        files = self._files(as_split(split))
        return digest(files.paths, self._bytes(as_split(split)), files.labels)

    def size(self, split: str) -> int:
        """How many images the split holds; `train` is 0 where there is only `val/`."""
        return len(self._files(as_split(split)).paths)

    def batch(self, split: str, indices: Sequence[int]) -> tuple[Images8, Labels]:
        """Decoded images (uint8, RGB) and labels; the tree says how many are read at a time.

        InputError for positions outside the split, and naming a file that is unreadable.
        """
        files = self._files(as_split(split))
        check_indices(split, indices, len(files.paths))
        images = np.empty((len(indices), self.side, self.side, 3), dtype=np.uint8)

        def decode(place: int) -> None:
            images[place] = self.tree.image(files.paths[indices[place]], self.side)

        with ThreadPoolExecutor(max_workers=self.tree.n_threads) as threads:
            list(threads.map(decode, range(len(indices))))
        labels = torch.tensor([files.labels[i] for i in indices], dtype=torch.int64)
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels

    def name(self, split: str, index: int) -> str:
        """The file's path below the root."""
        files = self._files(as_split(split))
        check_indices(split, [index], len(files.paths))
        return files.paths[index]

    def _bytes(self, split: Split) -> list[int]:
        if split not in self._sizes:
            self._sizes[split] = self.tree.sizes(self._files(split).paths)
        return self._sizes[split]

    @property
    def grouped_by(self) -> str:
        """What the images' own table calls so; empty where there is none."""
        return "group" if self.groups else ""

    def group(self, split: str, index: int) -> str:
        """As `groups.csv` says, else the image itself."""
        name = self.name(split, index)
        return self.groups.get(name, name)

    def _files(self, split: Split) -> Files:
        held = self.held.get(split)
        return self._train if held is None else held

    @cached_property
    def _train(self) -> Files:
        files = layouts.files_by_class(self.tree, "train", self.folders)
        files = files.relabelled(self.folders, self.classes)
        order = np.random.default_rng([self.seed, 0]).permutation(len(files.paths))
        return files.pick(order.tolist())


def open_folder(path: str | Path, *, side: int | None = None, seed: int = 0) -> FolderData:
    """Open a PATH, or a URI that fsspec opens, in one of three layouts.

    ImageNet: `train/<class>/...` and `val/<class>/...`. Tiny ImageNet: `train/<class>/images/...`,
    `val/images/...` and `val/val_annotations.txt`. Or `<class>/...` alone. Where `val` exists,
    search and report are two halves of it, class by class, and `train` may be missing; else each
    class is divided 60/20/20. Where `groups.csv` lies in PATH, with the columns image (the path
    below PATH) and group, whole groups are dealt, so that none falls into two splits. Where
    `classes.txt` lies there, it names all classes of a network, one a line, and labels are
    positions in it: so a part of ImageNet's classes serves a network of all 1000. A `train` or
    `val` that holds images beside other classes is a class.
    InputError: missing folder, no or one class, a class without images, no `val` beside `train`,
    classes called as splits are, a side outside 8..1024, a table of groups that lacks an image, a
    list of classes that lacks a folder; and what `LocalTree` or `RemoteTree` does not take.
    """
    chosen = DEFAULT_SIDE if side is None else side
    if chosen not in SIDES:
        raise InputError(
            f"expected a side in {SIDES[0]}..{SIDES[-1]} pixels, got {chosen}.\n"
            "Hint: networks for ImageNet read 224."
        )
    place = str(path)
    check_path(place)
    tree = RemoteTree(place) if is_uri(place) else LocalTree(Path(path).expanduser().absolute())
    if (found := tree.kind("")) != "a folder":
        raise InputError(
            f"expected a folder of images at {tree.address()}, found {found}.\n"
            "Hint: imagefolder:PATH takes a folder."
        )
    named = [name for name in ("train", "val") if tree.kind(name) == "a folder"]
    with_val = any(not layouts.is_class(tree, name) for name in named)
    folders, files, held = (_with_val if with_val else _plain)(tree)
    classes = layouts.listed_classes(tree, folders)
    files = files.relabelled(folders, classes)
    groups = layouts.groups(tree, files)
    turns: tuple[Split, ...] = ("search", "report")
    if not with_val:
        turns = ("train", "search", "train", "report", "train")
    held |= _divide(files, groups, turns, seed)
    if not all(held[split].paths for split in SPLITS[1:]):
        raise InputError(
            f"expected enough images in {tree.address()} to fill search and report, found too "
            "few.\nHint: two under val/, or five in all, are the least; use more."
        )
    return FolderData(
        tree=tree,
        side=chosen,
        seed=seed,
        classes=classes,
        folders=folders,
        held=held,
        groups=groups,
    )


Listed = tuple[tuple[str, ...], Files, dict[Split, Files]]  # classes, what is divided, train


def _with_val(tree: Tree) -> Listed:
    with_train = tree.kind("train") == "a folder"
    if tree.kind("val") != "a folder":
        inside = sorted(tree.inside("").items())
        others = [own for own, kind in inside if kind == "a folder" and own != "train"]
        raise InputError(
            f"expected val/ beside train/ in {tree.address()}, found {', '.join(others) or 'none'}."
            f"\nHint: imagefolder:{tree.address('train')} divides the training images 60/20/20; a "
            "link called val may lead to other images; a class called train holds images itself."
        )
    if annotated := layouts.is_annotated(tree):
        classes = tuple(sorted({name for _, name in layouts.annotations(tree)}))
    else:
        classes = layouts.class_names(tree, "val")
    if with_train:
        trained = layouts.class_names(tree, "train")
        differing = set(classes) - set(trained) if annotated else set(trained) ^ set(classes)
        if differing:
            raise InputError(
                f"expected the same classes in {tree.address('train')} and {tree.address('val')}, "
                f"found {len(differing)} in one only, such as {min(differing)}.\n"
                "Hint: a label is a position among the sorted names, so both need them all."
            )
        classes = trained
    if annotated:
        files = layouts.annotated_files(tree, classes)
    else:
        files = layouts.files_by_class(tree, "val", classes)
    held: dict[Split, Files] = {} if with_train else {"train": Files()}
    return classes, files, held


def _plain(tree: Tree) -> Listed:
    classes = layouts.class_names(tree, "")
    layouts.check_no_splits(tree, classes)
    return classes, layouts.files_by_class(tree, "", classes), {}


def _divide(
    files: Files, groups: Mapping[str, str], turns: tuple[Split, ...], seed: int
) -> dict[Split, Files]:
    """Deal groups to splits in turn, class after class of first images, each in random order.

    An image whose group is not known is a group.
    """
    random = np.random.default_rng([seed, 1])
    names = [groups.get(path, path) for path in files.paths]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    group = np.array([number[name] for name in names])
    labels = np.asarray(files.labels)[np.unique(group, return_index=True)[1]]
    dealt = np.lexsort((random.random(len(labels)), labels))
    divided: dict[Split, Files] = {}
    for split in dict.fromkeys(turns):
        own = [i for i, turn in enumerate(turns) if turn == split]
        mine = dealt[np.isin(np.arange(len(dealt)) % len(turns), own)]
        place = np.full(len(labels), len(labels))
        place[mine] = np.arange(len(mine))
        n_images = int(np.isin(group, mine).sum())
        images = np.argsort(place[group], kind="stable")[:n_images]
        divided[split] = files.pick(random.permutation(images).tolist())
    return divided
