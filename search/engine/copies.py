"""Pieces of a bank that lies elsewhere, copied to this machine: one download for all its workers.

The copies lie in the folder for temporary files, take at most a quarter of what the disk has left,
and may be deleted at any time. Each is checked whenever it is read.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_SHARE = 0.25  # of the disk's room
_PIECE = re.compile(r"[0-9a-f]{64}")


def copied(piece: str, read: Callable[[], bytes]) -> bytes:
    """The bytes of a piece from its copy, which the first to ask makes by `read`.

    Where no copy can be kept, as `read`; its bytes are the caller's to check.
    """
    folder = _folder()
    if folder is None or not _PIECE.fullmatch(piece):
        return read()
    file = folder / piece
    data = _whole(file)
    if data is None:
        with _alone(folder / f"{piece[:2]}.lock"):
            data = _whole(file)  # made meanwhile
            if data is None:
                data = read()
                if hashlib.sha256(data).hexdigest() == piece:
                    _keep(file, data)
    return data


def _folder() -> Path | None:
    """Where copies lie; None where somebody else made it."""
    folder = Path(tempfile.gettempdir()) / f"qtable-sweeps-bank-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    ours = found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if ours and stat.S_ISDIR(found.st_mode) else None


def _whole(file: Path) -> bytes | None:
    """A copy's bytes where there is one that is what its name says."""
    try:
        data = file.read_bytes()
        os.utime(file)  # the longest unread are the first to go
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == file.name else None


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time, where the folder can be locked."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            fcntl.flock(held.enter_context(lock.open("ab")), fcntl.LOCK_EX)
        yield


def _keep(file: Path, data: bytes) -> None:
    """Write a copy, after deleting others where it has no room."""
    part = file.with_name(f"{file.name}.part")
    with contextlib.suppress(OSError):
        others = [(path.stat(), path) for path in file.parent.glob("?" * len(file.name))]
        n_bytes = sum(found.st_size for found, _ in others)
        room = _SHARE * (shutil.disk_usage(file.parent).free + n_bytes)
        for found, path in sorted(others, key=lambda other: other[0].st_mtime_ns):
            if n_bytes + len(data) <= room:
                break
            path.unlink(missing_ok=True)
            n_bytes -= found.st_size
        if n_bytes + len(data) > room:
            return
        try:
            part.write_bytes(data)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
