"""An earlier name of `core.defences.transform`."""

import warnings

from core.defences.transform import TableDefence, check_images

__all__ = ["TableDefence", "check_images"]

warnings.warn("core.defence is now core.defences", DeprecationWarning, stacklevel=2)
