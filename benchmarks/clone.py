"""Lets a benchmark find the clone's `results`, not the folder of that name beside it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
