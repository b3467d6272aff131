"""Defensive JPEG quantization tables in your own program: attacks, defences, rows of sweeps.

    from qtable_sweeps import load, summary, winner    # rows
    from qtable_sweeps.attacks import pgd
    from qtable_sweeps.defences import TableDefence
    from qtable_sweeps import codec, data, models

Each is imported when it is first asked for: rows need no torch, attacks no pandas.
"""

from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qtable_sweeps import attacks, codec, data, defences, models
    from qtable_sweeps.__main__ import main
    from qtable_sweeps.rows import default_store, load, mcnemar, summary, wilson, winner

    __version__: str

__all__ = [
    "__version__",
    "attacks",
    "codec",
    "data",
    "default_store",
    "defences",
    "load",
    "main",
    "mcnemar",
    "models",
    "summary",
    "wilson",
    "winner",
]
_MODULES = ("attacks", "codec", "data", "defences", "models")
_SWEEPS = ("jinja2", "matplotlib", "optuna", "pandas", "pyarrow", "ray", "skimage", "sklearn")
_OURS = {"core": "shapes", "jobs": "qtable_search", "results": "schema", "search": "lab"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        return metadata.version("qtable-sweeps")
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    try:
        home = import_module(f"{__name__}.{'__main__' if name == 'main' else 'rows'}")
        return getattr(home, name)
    except ModuleNotFoundError as error:
        raise extra(error) from error


def extra(error: ModuleNotFoundError) -> ImportError:
    """The error; where a package of studies and rows is lacking, one that says what brings it."""
    if error.name not in _SWEEPS:
        return error
    return ImportError(
        f"studies and rows need {error.name}, which is not installed.\n"
        "Hint: pip install 'qtable-sweeps[sweeps]' brings it and all else that they need.",
        name=error.name,
    )


def _check_clone() -> None:
    """ImportError where something of the user's has the name of one of a clone's folders.

    A wheel holds them below this package, where nothing clashes.
    """
    if Path(__file__).with_name("core").is_dir():
        return
    for name, module in _OURS.items():
        found = find_spec(name)
        folders = (found and found.submodule_search_locations) or []
        if not any((Path(folder) / f"{module}.py").is_file() for folder in folders):
            raise ImportError(
                f"another {name!r} stands before that of qtable-sweeps: {found and found.origin}.\n"
                f"Hint: `pip install {Path(__file__).parents[1]}` (without -e) keeps ours apart."
            )


_check_clone()
