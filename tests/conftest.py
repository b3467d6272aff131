"""Settings that all tests share."""

import os
from collections import Counter

from hypothesis import settings

# Two processes of tests on two cores: with two threads each, torch waits more than it computes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("shared-machine", deadline=None)  # noisy clocks say nothing of the code
settings.load_profile("shared-machine")


def pytest_terminal_summary(terminalreporter):
    """In one line what a machine lacks, so that a run without it does not look whole."""
    lacked = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    if lacked:
        said = "; ".join(f"{n}: {reason}" for reason, n in lacked.items())
        terminalreporter.write_line(
            f"{lacked.total()} tests did not run, `sudo make system` brings what they need ({said})"
        )
