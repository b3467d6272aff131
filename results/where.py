"""Which store is meant where none is named."""

import os

DEFAULT_STORE = "results/out"
STORE_VARIABLE = "QSWEEP_STORE"


def default_store() -> str:
    """What the environment variable QSWEEP_STORE names, else `results/out`."""
    return os.environ.get(STORE_VARIABLE) or DEFAULT_STORE
