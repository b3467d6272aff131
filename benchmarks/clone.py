"""Lets a benchmark and its workers find the clone's `results`, not the folder of that name here."""

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).parent.parent)
sys.path.append(_ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
