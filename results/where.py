"""Which store is meant where none is named."""

import os
from collections.abc import Iterable

DEFAULT_STORE = "results/out"
STORE_VARIABLE = "QSWEEP_STORE"


def default_store() -> str:
    """What the environment variable QSWEEP_STORE names, else `results/out`."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE


def meant(name: str, names: Iterable[str]) -> list[str]:
    """That name, where it is one of `names`, else those that begin or end with it."""
    known = list(names)
    return [name] if name in known else [n for n in known if n.startswith(name) or n.endswith(name)]
