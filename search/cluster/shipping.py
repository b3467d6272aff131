"""Which code runs where: what a job ships to the workers, and the script that was submitted."""

import atexit
import functools
import hashlib
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]  # of a wheel the folder qtable_sweeps
LAUNCHER_FILE = Path("~/ray_bootstrap_config.yaml")  # what `ray up` leaves on a head
IS_CLONE = __name__.startswith("search.")
BASE = REPOSITORY if IS_CLONE else REPOSITORY.parent
ALL = "qtable_sweeps"
PACKAGES = ("core", "jobs", ALL, "results", "search") if IS_CLONE else (ALL,)


def _sources() -> list[Path]:
    """Sources and shipped weights: `results/out` may hold terabytes."""
    sources = [path for name in PACKAGES for path in sorted((BASE / name).rglob("*.py"))]
    return [*sources, *sorted((REPOSITORY / "search").rglob("*.safetensors"))]


def shipped(folder: Path) -> list[str]:
    """Copy the packages' sources into a folder; what workers are to import, one path each."""
    for source in _sources():
        target = folder / source.relative_to(BASE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return [str(folder / package) for package in PACKAGES]


@functools.cache
def ship() -> list[str]:
    """As `shipped`, into a folder that lives as long as this process."""
    folder = tempfile.mkdtemp(prefix="ship-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return shipped(Path(folder))


def fingerprint() -> str:
    """A hash of the packages' sources: the same on two machines that hold the same code."""
    digest = hashlib.sha256()
    for source in _sources():
        name = str(source.relative_to(BASE))
        digest.update(f"{name}\0{hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def check_script(script: str | Path = sys.argv[0]) -> None:
    """Refuse a submitted script that differs from the repository's.

    `ray submit` sends the script alone; the packages are those that `make push` or `ray up`
    brought. A script of another name, or run from the repository, is the user's own business.
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


def check_arguments(script: str | Path = sys.argv[0], arguments: Sequence[str] = ()) -> None:
    """Refuse a submitted job whose arguments a shell on the head has changed.

    `ray submit` joins them unquoted, so `$HOME` was expanded and what follows a `;` would be run
    next. Where what arrived differs from what the launcher's shell was given, that shell is ended,
    so that the rest of its line does not run. Only a script in the home folder of a head counts.
    """
    path = Path(script).absolute()
    if path.parent != Path.home() or not LAUNCHER_FILE.expanduser().exists():
        return
    given = _given_to_shell(path.name)
    if given is None or given == list(arguments):
        return
    atexit.register(os.kill, os.getppid(), signal.SIGKILL)  # after the error was said
    raise InputError(
        f"the shell behind `ray submit` changed the arguments: it was given {shlex.join(given)}, "
        f"and {shlex.join(arguments) or 'nothing'} arrived.\n"
        "Hint: `python -m search submit CLUSTER.YAML SCRIPT -- ...` passes them on as typed."
    )


def _given_to_shell(script: str) -> list[str] | None:
    """The words after the script in the parent's command line; None where it has no such line."""
    try:
        line = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return None
    _, found, rest = line.rpartition(f"python ~/{script}")
    if not found:
        return None
    # Ray wraps the command in parentheses, or has tmux and screen keep a shell open behind it.
    text = rest.rstrip("\0 \n").removesuffix("; exec bash").removesuffix(")")
    try:
        return shlex.split(text)
    except ValueError:
        return [text]
