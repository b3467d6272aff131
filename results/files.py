"""Where files live: a local folder or an object store, behind five verbs.

A file appears whole or not at all. Locally it is written aside, flushed to the disk and moved
into place; an object store's upload becomes visible only when it is complete.
"""

import contextlib
import errno
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pyarrow import fs

from results.shown import redacted, scrubbed

_LEFT_S = 86_400.0  # nobody writes one file for a day

# A URI that lost a slash, as one in a pathlib.Path does.
_LOST = re.compile(
    r"([a-z][a-z0-9+.-]+):/(?!/)|(s3a?|gcs|gs|az|abfss?|hdfs|https?|file):(?!//)", re.IGNORECASE
)


def denied(error: OSError) -> bool:
    """Whether a store refused what was to be written: it is read-only, or somebody else's."""
    refused = isinstance(error, PermissionError) or error.errno == errno.EROFS
    return refused or "ACCESS_DENIED" in str(error)  # as Arrow words what S3 and GCS say


def _meant(lost: re.Match[str], uri: str) -> str:
    scheme, rest = (lost[1] or lost[2]).lower(), uri[lost.end() :].lstrip("/")
    meant = f"/{rest}" if scheme == "file" else redacted(f"{scheme}://{rest}")
    return (
        f"expected a folder or a URI for a store, got what begins with {lost[0]!r}.\n"
        f"Hint: did you mean {meant}? A folder of that name is ./{lost[0]}..."
    )


class Root:
    """A folder, local or remote, named by a path or URI.

    Any that pyarrow opens (`s3://`, `gs://`, `hdfs://`, `file://`) or else fsspec (`az://`, ...).
    ValueError where none does, the name is empty, or a URI lost a slash.
    """

    def __init__(self, uri: str | Path) -> None:
        """Open the root; nothing is created until the first write."""
        self._open_as = str(uri)
        if not self._open_as:
            raise ValueError(
                "--store names no folder: it is empty.\nHint: is a variable of the shell unset?"
            )
        if lost := _LOST.match(self._open_as):
            raise ValueError(_meant(lost, self._open_as))
        if "://" not in self._open_as:
            self._open_as = str(Path(self._open_as).expanduser().resolve())
        self.uri = redacted(self._open_as)
        self.filesystem, self._base = _open(self._open_as)
        self.is_local = isinstance(self.filesystem, fs.LocalFileSystem)

    def __reduce__(self) -> tuple[type["Root"], tuple[str]]:
        """Travels to workers as its address."""
        return (Root, (self._open_as,))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Root) and other._open_as == self._open_as

    def __hash__(self) -> int:
        return hash(self._open_as)

    def path(self, name: str) -> str:
        """The full address of a file, for a person to read."""
        return f"{self.uri.rstrip('/')}/{name}"

    def within(self, name: str) -> str:
        """The file's path as `filesystem` wants it."""
        if ".." in name.split("/") or name.startswith("/"):
            raise ValueError(f"a name inside {self.uri} is expected, got {name!r}.")
        return f"{self._base}/{name}" if self._base else name

    def read(self, name: str) -> bytes:
        """The whole file; FileNotFoundError where there is none."""
        with self.filesystem.open_input_file(self.within(name)) as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> None:
        """Write the whole file, or nothing where OSError is raised; an older file is replaced."""
        target = self.within(name)
        folder = target.rsplit("/", 1)[0]
        if not self.is_local:
            with self.filesystem.open_output_stream(target) as stream:
                stream.write(data)
            return
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103  strings, as pyarrow has them
        aside = Path(folder) / f".{secrets.token_hex(8)}.part"
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise

    def sweep_up(self) -> None:
        """Remove what writers that were killed have left, if it is older than a day."""
        if not self.is_local:
            return
        for left in Path(self._base).rglob(".*.part"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _LEFT_S:
                    left.unlink()

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self.filesystem.get_file_info(self.within(name)).type == fs.FileType.File)

    def size(self, name: str) -> int:
        """The file's bytes; FileNotFoundError where there is none."""
        info = self.filesystem.get_file_info(self.within(name))
        if info.type != fs.FileType.File:
            raise FileNotFoundError(self.path(name))
        return int(info.size)

    def sizes(self, folder: str) -> dict[str, int]:
        """Files directly in a folder, by name, with their bytes; empty where there is none."""
        return {name: size for name, (size, _) in self.stamps(folder).items()}

    def stamps(self, folder: str) -> dict[str, tuple[int, int | None]]:
        """As `sizes`, each with its time of last change in ns; None where the store tells none."""
        infos = self._in(folder)
        files = {i.base_name: (i.size, i.mtime_ns) for i in infos if i.type == fs.FileType.File}
        # Names that begin with a dot are those of files still being written.
        return {name: files[name] for name in sorted(files) if not name.startswith(".")}

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder."""
        infos = self._in(folder)
        return sorted(i.base_name for i in infos if i.type == fs.FileType.Directory)

    def _in(self, folder: str) -> Any:
        selector = fs.FileSelector(self.within(folder), allow_not_found=True)
        return self.filesystem.get_file_info(selector)

    def move(self, source: str, target: str) -> None:
        """Move a file within the root, replacing what stood there."""
        to = self.within(target)
        self.filesystem.create_dir(to.rsplit("/", 1)[0], recursive=True)
        self.filesystem.move(self.within(source), to)

    def delete(self, name: str) -> None:
        """Delete a file; it is no error where somebody else already did."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.within(name))


def _open(uri: str) -> tuple[fs.FileSystem, str]:
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    if re.match(r"(s3a?|gs|gcs|az|abfss?)://(/|\?|\s*$)", uri):
        raise ValueError(
            f"expected the name of a bucket in {redacted(uri)!r}.\n"
            "Hint: is a variable of the shell unset?"
        )
    try:
        quoted = quote(uri, safe="/:%") if uri.startswith("file://") else uri
        filesystem, base = fs.FileSystem.from_uri(quoted)
    except (ValueError, OSError) as refused:
        try:
            if uri.startswith(("s3://", "gs://")):  # fsspec would take a password for a bucket
                raise
            import fsspec  # noqa: PLC0415 - nobody else needs it

            theirs, base = fsspec.core.url_to_fs(uri)
        except (ValueError, ImportError, OSError) as error:
            raise ValueError(
                f"cannot open {redacted(uri)} as a store: {scrubbed(str(refused or error), uri)}.\n"
                "Hint: a folder, s3://BUCKET/FOLDER, gs://..., or a scheme that an installed "
                "fsspec package serves."
            ) from error
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(theirs))
    return filesystem, base.rstrip("/")
