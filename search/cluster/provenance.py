"""What rows say of where they come from: code, versions, hardware."""

import functools
import importlib.metadata
import platform
import re
import socket
import subprocess
from pathlib import Path

import torch

from search.cluster.shipping import REPOSITORY, fingerprint

_PACKAGES = ("torch", "torchvision", "ray", "numpy", "pyarrow")


@functools.cache
def commit() -> str:
    """The code's commit, "+dirty" when files differ; outside of git "code-" and their hash."""
    try:
        top = _git("rev-parse", "--show-toplevel")
        if Path(top).resolve() != REPOSITORY:  # installed somewhere inside another repository
            return f"code-{fingerprint()}"
        dirty = _git("status", "--porcelain", "--untracked-files=no")
        return _git("rev-parse", "--short=12", "HEAD") + ("+dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return f"code-{fingerprint()}"


def _git(*words: str) -> str:
    command = ("git", "-C", str(REPOSITORY), *words)
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout.strip()


@functools.cache
def versions() -> str:
    """Python's and the main packages' versions: "python=3.11.7 torch=2.15.0 ..."."""
    pairs = [("python", platform.python_version())]
    pairs += [(name, importlib.metadata.version(name)) for name in _PACKAGES]
    return " ".join(f"{name}={version}" for name, version in pairs)


@functools.cache
def hardware(device: str) -> str:
    """The processor or GPU that does the arithmetic."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name())
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


@functools.cache
def host() -> str:
    """This machine's name."""
    return socket.gethostname()
