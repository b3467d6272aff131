"""What every benchmark begins with: where the clone's packages are, and the command line.

Beside a benchmark lies a folder `results`, of figures; the package of that name is the clone's.
"""

import argparse
import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).parent.parent)
sys.path.append(_ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))


def words(*known: str) -> list[str]:
    """The words of the command line, each one of `known`; --help says what the benchmark does."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if known:
        parser.add_argument("names", nargs="*", help=f"these alone, of {', '.join(known)}")
    names: list[str] = getattr(parser.parse_args(), "names", [])
    if strange := [name for name in names if name not in known]:
        parser.error(f"expected some of {', '.join(known)}, got {strange[0]!r}")
    return names
