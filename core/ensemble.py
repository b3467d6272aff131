"""An earlier name of `core.defences.ensemble`."""

import warnings

from core.defences.ensemble import Ensemble, Member, combined, seen_by  # noqa: F401

warnings.warn("core.ensemble is now core.defences", DeprecationWarning, stacklevel=2)
