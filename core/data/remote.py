"""A folder behind a URI, such as an object store's, listed and read through fsspec."""

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch

from core.data.decode import decode_square, unreadable
from core.data.tree import Kind, is_image, is_left_out
from core.data.uris import in_words, open_uri, shown
from core.errors import InputError

T = TypeVar("T")
Entries = dict[str, Kind]  # what is directly in a folder; "" where it is itself no folder

WAITS_S = (1.0, 3.0)  # between tries, on top of those that the package itself makes
READERS = 16  # files asked for at a time: an answer takes long, and little of it is computing
PROBE_S = 60.0  # a node that has no answer by then cannot work either
RIGHTS = (
    "Hint: this machine's credentials must allow to list the folder and to read it; for s3:// "
    "those of AWS_PROFILE, AWS_ACCESS_KEY_ID or its role."
)
LOST = (
    "Hint: look at the address, the network and this machine's credentials; for s3:// at "
    "AWS_PROFILE or AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL."
)


class RemoteTree:
    """See `Tree`. What is directly in a folder is asked once, sizes come with the list of files."""

    def __init__(self, uri: str, *, waits_s: Sequence[float] | None = None) -> None:
        """Find the package that reads the URI, as `open_uri` does.

        `waits_s`: seconds to wait before each further try; `WAITS_S` unless given.
        """
        self._uri = uri
        self._waits_s = WAITS_S if waits_s is None else tuple(waits_s)
        self._fs, self._base = open_uri(uri)
        self._entries: dict[str, Entries] = {}
        self._sizes: dict[str, int | None] = {}  # of all files listed so

    @property
    def n_threads(self) -> int:
        """More than compute: they wait for answers."""
        return max(READERS, torch.get_num_threads())

    def address(self, name: str = "") -> str:
        """The URI."""
        return f"{self._uri.rstrip('/')}/{name}" if name else self._uri

    def kind(self, name: str) -> Kind:
        """As the listing of the folder around it says."""
        if not name:
            return self._in("").get("", "a folder")
        around, _, own = name.rpartition("/")
        return self._in(around).get(own, "nothing")

    def inside(self, name: str) -> dict[str, Kind]:
        """From one listing."""
        return {own: kind for own, kind in self._in(name).items() if not is_left_out(own)}

    def entries(self, name: str) -> set[str]:
        """From the listing that also gives sizes; folders without files are left out."""
        return {_within(path, name).partition("/")[0] for path in self._all(name)}

    def files(self, folder: str, parts: Sequence[str]) -> Iterator[list[str]]:
        """All parts from one listing, which also gives sizes."""
        found: dict[str, list[str]] = {part: [] for part in parts}
        for path in self._all(folder):
            part, *inner = _within(path, folder).split("/")
            if part in found and inner and not any(map(is_left_out, inner)):
                found[part].append(path)
        yield from found.values()

    def sizes(self, names: Sequence[str]) -> list[int]:
        """As they were listed."""
        sizes = [self._sizes[name] for name in names]
        if None in sizes:
            raise InputError(
                f"expected sizes in the listing of {self._uri}, found none for "
                f"{names[sizes.index(None)]}.\nHint: copy the folder to this machine, or to an "
                "object store: what was measured on it must be known again."
            )
        return [size for size in sizes if size is not None]

    def read(self, name: str) -> bytes:
        """The whole file."""
        return bytes(self._ask(name, self._fs.cat_file))

    def image(self, name: str, side: int) -> np.ndarray:
        """InputError, naming the file, where it cannot be read or decoded."""
        try:
            content = self.read(name)
        except FileNotFoundError as cause:
            raise unreadable(self.address(name), "it is not there") from cause
        return decode_square(io.BytesIO(content), side, address=self.address(name))

    def probe(self) -> None:
        """InputError unless the folder can be listed, and a byte of its first image be read."""
        kind, place = self.kind(""), ""
        if kind != "a folder":
            raise InputError(f"expected a folder of images at {self._uri}, found {kind}.")
        while True:
            seen = dict(sorted(self.inside(place).items()))
            images = [own for own, k in seen.items() if k == "a file" and is_image(own)]
            inner = [own for own, k in seen.items() if k == "a folder"]
            if images:
                first = _joined(place, images[0])
                self._ask(first, lambda path: self._fs.cat_file(path, start=0, end=1))
            if images or not inner:
                return
            place = _joined(place, inner[0])

    def _in(self, folder: str) -> Entries:
        if folder not in self._entries:
            kinds: Entries = {}
            try:
                infos = self._ask(folder, lambda path: self._fs.ls(path, detail=True))
            except FileNotFoundError:
                infos, kinds[""] = [], "nothing"
            for info in infos:
                own = _within(_within(info["name"], self._base), folder)
                if own or not info["name"].endswith("/"):  # else an object that marks the folder
                    kinds[own] = "a folder" if info["type"] == "directory" else "a file"
            self._entries[folder] = kinds
        return self._entries[folder]

    def _all(self, folder: str) -> list[str]:
        """All files in a folder, at any depth; their sizes are kept."""
        infos = self._ask(folder, lambda path: self._fs.find(path, detail=True))
        sizes = {_within(path, self._base): info["size"] for path, info in infos.items()}
        self._sizes |= sizes
        return list(sizes)

    def _ask(self, name: str, ask: Callable[[str], T]) -> T:
        """What `ask` answers of that path; FileNotFoundError, or InputError after the last try."""
        path = _joined(self._base, name) if name else self._base
        waits_s = iter(self._waits_s)
        while True:
            try:
                return ask(path)
            except FileNotFoundError:
                raise
            except PermissionError as cause:
                raise InputError(
                    f"expected to read {self.address(name)}, got no permission: {in_words(cause)}\n"
                    f"{RIGHTS}"
                ) from cause
            except Exception as cause:  # each package has errors of its own
                wait_s = next(waits_s, None)
                if wait_s is None:
                    tries = f" in {len(self._waits_s) + 1} tries" if self._waits_s else ""
                    raise InputError(
                        f"expected to read {self.address(name)}, got{tries}: "
                        f"{type(cause).__name__}: {in_words(cause)}\n{LOST}"
                    ) from cause
            time.sleep(wait_s)


def unreachable(uri: str) -> str:
    """Why this machine cannot list and read images at the URI; empty where it can.

    Each thing is tried once, and what takes longer than a minute is taken for unreachable.
    """
    found = [f"expected to read {shown(uri)}, got no answer in {PROBE_S:g} s"]

    def ask() -> None:
        try:
            RemoteTree(uri, waits_s=()).probe()
            found[0] = ""
        except InputError as error:
            found[0] = str(error).partition("\nHint: ")[0]
        except FileNotFoundError as error:
            found[0] = f"expected to read {shown(uri)}, found nothing at {error}"

    thread = threading.Thread(target=ask, daemon=True)  # which nobody need wait for
    thread.start()
    thread.join(PROBE_S)
    return found[0]


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _within(path: str, folder: str) -> str:
    """The path without the folder that it begins with."""
    return path.strip("/").removeprefix(folder.strip("/")).strip("/")
