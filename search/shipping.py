"""Which code runs where: what a job ships to the workers, and the script that was submitted."""

import functools
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from core.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "jobs", "results", "search")


def shipped(folder: Path) -> list[str]:
    """Copy the packages' sources into a folder; what workers are to import, one path each.

    Sources only: `results/out` may hold terabytes.
    """
    for package in PACKAGES:
        for source in sorted((REPOSITORY / package).rglob("*.py")):
            target = folder / source.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return [str(folder / package) for package in PACKAGES]


@functools.cache
def ship() -> list[str]:
    """As `shipped`, into a folder that lives as long as this process."""
    folder = tempfile.TemporaryDirectory(prefix="ship-")
    _FOLDERS.append(folder)
    return shipped(Path(folder.name))


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def fingerprint() -> str:
    """A hash of the packages' sources: the same on two machines that hold the same code."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for source in sorted((REPOSITORY / package).rglob("*.py")):
            name = str(source.relative_to(REPOSITORY))
            digest.update(f"{name}\0{hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def check_script(script: str | Path = sys.argv[0]) -> None:
    """Refuse a submitted script that differs from the repository's.

    `ray submit` sends the script alone; `core`, `search` and `results` are those that `make push`
    or `ray up` brought. A script of another name, or run from the repository, is the user's own
    business.
    """
    path = Path(script).resolve()
    ours = REPOSITORY / "jobs" / path.name
    if path == ours or not path.is_file() or not ours.is_file():
        return
    if path.read_bytes() != ours.read_bytes():
        raise InputError(
            f"{path} was submitted, but {ours} differs from it: the cluster's code is not the "
            "laptop's.\nHint: `make push` (CLUSTER=cluster.yaml) brings the head up to date, then "
            "submit again."
        )
