"""An earlier name of `core.defences.transform`."""

import warnings

from core.defences.images import check_images  # noqa: F401
from core.defences.transform import TableDefence  # noqa: F401

warnings.warn("core.defence is now core.defences", DeprecationWarning, stacklevel=2)
