"""The GPU of this machine: what it is, and whether this torch computes on it."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

_DEVICE = Path("/dev/nvidia0")


@dataclass(frozen=True)
class Card:
    """A GPU in words, both empty where there is none; `wrong`: why it cannot be used."""

    words: str = ""
    wrong: str = ""


def look() -> Card:
    """Look at the first GPU, and have it multiply."""
    if not torch.cuda.is_available():
        return Card(wrong=_unseen() if _DEVICE.exists() else "")
    it = torch.cuda.get_device_properties(0)
    words = (
        f"{it.name}, {it.total_memory / 2**30:.0f} GiB, compute capability {it.major}.{it.minor}, "
        f"CUDA {torch.version.cuda}, driver {_driver()}"
    )
    if not _built_for(it.major, it.minor):
        return Card(words, f"this torch is built for {' '.join(torch.cuda.get_arch_list())} alone")
    try:
        numbers = torch.arange(64, dtype=torch.float64, device="cuda")
        found = float(numbers @ numbers)
    except RuntimeError as error:
        return Card(words, f"it does not compute: {str(error).splitlines()[0]}")
    return Card(words, "" if found == 85344 else f"it computes wrongly: 85344 came out {found:g}")


def _unseen() -> str:
    if torch.version.cuda is None:
        return "there is one, but this torch is built for CPUs alone"
    return (
        f"there is one, but torch does not see it; its driver ({_driver()}) may be too old for "
        f"CUDA {torch.version.cuda}, or CUDA_VISIBLE_DEVICES hides it"
    )


def _built_for(major: int, minor: int) -> bool:
    """Machine code of a capability runs on the same major one with an equal or higher minor."""
    known = [re.fullmatch(r"sm_(\d+)(\d)[a-z]?", name) for name in torch.cuda.get_arch_list()]
    return any(m and int(m[1]) == major and int(m[2]) <= minor for m in known)


def _driver() -> str:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    match = re.search(r"\b(\d+\.\d+(\.\d+)?)\b", text)
    return match[1] if match else "unknown"
