"""Where an installed package keeps its data files."""

from importlib.util import find_spec
from pathlib import Path

from core.errors import InputError


def bundled_file(package: str, *parts: str) -> Path:
    """Path of a data file inside an installed package, found without importing the package.

    Importing scikit-learn or scikit-image takes seconds, reading one of their files milliseconds,
    and every worker process opens its data anew.
    """
    found = find_spec(package)
    places = found.submodule_search_locations if found else None
    for place in places or ():
        path = Path(place, *parts)
        if path.is_file():
            return path
    raise InputError(
        f"expected {'/'.join(parts)} inside the installed package {package}, found no such file.\n"
        "Hint: pip install 'qtable-sweeps[sweeps]', whose packages contain it."
    )
