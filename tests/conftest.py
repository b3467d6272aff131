"""Settings that all tests share."""

from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)  # noisy clocks say nothing of the code
settings.load_profile("shared-machine")
