"""An earlier name of `core.defences.transform`."""

import warnings

from core.defences.transform import TableDefence, check_images  # noqa: F401

warnings.warn("core.defence is now core.defences", DeprecationWarning, stacklevel=2)
