"""Settings that all tests share."""

from collections import Counter

from hypothesis import settings

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
