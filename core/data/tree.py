"""A folder and all that lies below it, on this machine or elsewhere."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch

from core.data.decode import decode_square
from core.errors import InputError

Kind = Literal["a folder", "a file", "nothing"]
SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
# What operating systems, NAS boxes and archives leave in folders, beside hidden names.
LEFT_BEHIND = frozenset((
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp",
    "@sharebin", "$recycle.bin", "recycler", "system volume information", "lost+found",
    "~snapshot", "network trash folder", "temporary items", "thumbs.db", "ehthumbs.db",
    "desktop.ini", "__pycache__",
))  # fmt: skip


def is_image(name: str) -> bool:
    """Whether the name ends as an image's does."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def is_left_out(name: str) -> bool:
    """Whether a file or folder of that own name is no part of any data set: hidden, or litter."""
    return name.startswith((".", "~$")) or name.lower() in LEFT_BEHIND


@runtime_checkable
class Tree(Protocol):
    """What image folders are read through.

    A name is a path below the tree's root, "/" between the parts; "" is the root itself.
    """

    @property
    def n_threads(self) -> int:
        """How many images are worth reading at a time."""

    def address(self, name: str = "") -> str:
        """Where that lies, for a person to read."""

    def kind(self, name: str) -> Kind:
        """What is there under that name."""

    def inside(self, name: str) -> dict[str, Kind]:
        """What is directly in a folder, without paths, but what `is_left_out`."""

    def entries(self, name: str) -> set[str]:
        """All that is directly in a folder, without paths."""

    def files(self, folder: str, parts: Sequence[str]) -> Iterator[list[str]]:
        """For each of those folders directly in `folder`, the names of its files at any depth.

        What `is_left_out` by its own name, or that of a folder on the way, is not among them.
        """

    def sizes(self, names: Sequence[str]) -> list[int]:
        """Bytes of files that `files` or `entries` listed."""

    def read(self, name: str) -> bytes:
        """The content of a file."""

    def image(self, name: str, side: int) -> np.ndarray:
        """A file as `decode_square` decodes it."""


@dataclass(frozen=True)
class LocalTree:
    """A folder of this machine. Links are followed.

    InputError for what cannot be listed, links to nothing, and folders that are reached twice:
    their images would count twice, or under two labels.
    """

    root: Path
    _seen: dict[str, str] = field(default_factory=dict, compare=False, repr=False)  # by real path

    @property
    def n_threads(self) -> int:
        """As many as torch computes with: decoding is what takes time."""
        return torch.get_num_threads()

    def address(self, name: str = "") -> str:
        """The whole path."""
        return str(self.root / name)

    def kind(self, name: str) -> Kind:
        """As `Path.is_dir` says."""
        path = self.root / name
        try:
            return "a folder" if path.is_dir() else "a file" if path.exists() else "nothing"
        except (OSError, ValueError) as cause:
            raise _not_read(self.address(name), cause) from cause

    def inside(self, name: str) -> dict[str, Kind]:
        """In no order."""
        return dict(self._listed(name))

    def entries(self, name: str) -> set[str]:
        """Hidden ones too."""
        return set(self._names(name))

    def files(self, folder: str, parts: Sequence[str]) -> Iterator[list[str]]:
        """Listed part by part, in no order."""
        self._seen[os.path.realpath(self.root)] = ""
        for part in parts:
            yield list(self._below(f"{folder}/{part}".lstrip("/")))

    def sizes(self, names: Sequence[str]) -> list[int]:
        """As the file system says now."""
        sizes = []
        for name in names:
            try:
                sizes.append((self.root / name).stat().st_size)
            except OSError as cause:
                raise _not_read(self.address(name), cause) from cause
        return sizes

    def read(self, name: str) -> bytes:
        """The whole file."""
        try:
            return (self.root / name).read_bytes()
        except OSError as cause:
            raise _not_read(self.address(name), cause) from cause

    def image(self, name: str, side: int) -> np.ndarray:
        """InputError, naming the file, where it cannot be decoded."""
        return decode_square(self.root / name, side)

    def _below(self, folder: str) -> Iterator[str]:
        real = os.path.realpath(self.root / folder)
        first = self._seen.setdefault(real, folder)
        if first != folder:
            raise InputError(
                f"expected each folder once, found {self.address(folder)} and "
                f"{self.address(first)} to be the same: a link leads there.\n"
                "Hint: its images would count twice; keep the link outside of the folder."
            )
        for own, kind in self._listed(folder):
            if kind == "a folder":
                yield from self._below(f"{folder}/{own}")
            elif kind == "a file":
                yield f"{folder}/{own}"

    def _listed(self, folder: str) -> Iterator[tuple[str, Kind]]:
        for own in self._names(folder):
            if is_left_out(own):
                continue
            path = self.root / folder / own
            try:
                own.encode()
                kind: Kind = (
                    "a folder" if path.is_dir() else "a file" if path.is_file() else "nothing"
                )
                if kind == "nothing" and path.is_symlink():
                    raise _not_read(str(path), f"a link to {path.readlink()}, which is not there")
            except UnicodeEncodeError as cause:
                shown = os.fsencode(path).decode(errors="backslashreplace")
                raise InputError(
                    f"expected names in UTF-8, found {shown}.\nHint: give it another name."
                ) from cause
            except OSError as cause:
                raise _not_read(str(path), cause) from cause
            if kind == "nothing" and is_image(own):
                raise _not_read(str(path), "a pipe, a socket or a device, no file")
            yield own, kind

    def _names(self, folder: str) -> list[str]:
        try:
            return os.listdir(self.root / folder)  # noqa: PTH208 - names alone
        except OSError as cause:
            raise _not_read(self.address(folder), cause) from cause


def _not_read(address: str, found: object) -> InputError:
    hint = "move it out of the folder, or have it back where the link leads (`git annex get`)"
    if isinstance(found, PermissionError):
        hint = "this user needs the right to read it, and to list it where it is a folder"
    said = getattr(found, "strerror", None) or str(found)
    return InputError(f"cannot read {address}: {said}.\nHint: {hint}.")
