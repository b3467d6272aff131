"""Settings that all tests share."""

import pytest
from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)  # noisy clocks say nothing of the code
settings.load_profile("shared-machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With several processes a file's tests stay in one, and those with hosts of their own too.

    These take longest, so they begin.
    """
    items.sort(key=lambda item: item.path.parent.name != "cluster")
    for item in items:
        group = "cluster" if item.path.parent.name == "cluster" else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
