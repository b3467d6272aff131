"""What to run, and running it. A job imports what it needs from here."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from search import flags
from search.command_line import flag
from search.job import Job, main
from search.later import later

if TYPE_CHECKING:
    from search import scores
    from search.engine.study import Study
    from search.inputs.pictures import Pictures, Threat
    from search.lab import Lab

__all__ = ["Job", "Lab", "Pictures", "Study", "Threat", "flag", "flags", "later", "main", "scores"]
_HOMES = {  # of what needs torch
    "Lab": "lab",
    "Pictures": "inputs.pictures",
    "Study": "engine.study",
    "Threat": "inputs.pictures",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
