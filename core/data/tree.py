"""A folder and all that lies below it, on this machine or elsewhere."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch

from core.data.decode import decode_square

Kind = Literal["a folder", "a file", "nothing"]


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

    def folders(self, name: str) -> list[str]:
        """The folders directly in a folder, without their paths."""

    def entries(self, name: str) -> set[str]:
        """All that is directly in a folder, without paths."""

    def files(self, folder: str, parts: Sequence[str]) -> Iterator[list[str]]:
        """For each of those folders directly in `folder`, the names of its files at any depth.

        Files whose own name begins with a dot, or that of a folder on the way, are left out.
        """

    def sizes(self, names: Sequence[str]) -> list[int]:
        """Bytes of files that `files` or `entries` listed."""

    def read(self, name: str) -> bytes:
        """The content of a file."""

    def image(self, name: str, side: int) -> np.ndarray:
        """A file as `decode_square` decodes it."""


@dataclass(frozen=True)
class LocalTree:
    """A folder of this machine."""

    root: Path

    @property
    def n_threads(self) -> int:
        """As many as torch computes with: decoding is what takes time."""
        return torch.get_num_threads()

    def address(self, name: str = "") -> str:
        """The whole path."""
        return str(self.root / name)

    def kind(self, name: str) -> Kind:
        """Links are followed."""
        path = self.root / name
        if path.is_dir():
            return "a folder"
        return "a file" if path.exists() else "nothing"

    def folders(self, name: str) -> list[str]:
        """In no order."""
        return [entry.name for entry in os.scandir(self.root / name) if entry.is_dir()]

    def entries(self, name: str) -> set[str]:
        """Hidden ones too."""
        return {entry.name for entry in os.scandir(self.root / name)}

    def files(self, folder: str, parts: Sequence[str]) -> Iterator[list[str]]:
        """Listed part by part, in no order; links are followed."""
        for part in parts:
            found: list[str] = []
            for place, inner, files in os.walk(self.root / folder / part, followlinks=True):
                inner[:] = [name for name in inner if not name.startswith(".")]
                base = Path(place).relative_to(self.root).as_posix()
                found += [f"{base}/{file}" for file in files if not file.startswith(".")]
            yield found

    def sizes(self, names: Sequence[str]) -> list[int]:
        """As the file system says now."""
        return [(self.root / name).stat().st_size for name in names]

    def read(self, name: str) -> bytes:
        """The whole file."""
        return (self.root / name).read_bytes()

    def image(self, name: str, side: int) -> np.ndarray:
        """InputError, naming the file, where it cannot be decoded."""
        return decode_square(self.root / name, side)
