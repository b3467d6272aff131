"""Defences that transform the input: pixels in, pixels out, in front of any model."""

from core.defences.base import Defence, Defended, Nothing
from core.defences.compression import SPACES, Jpeg, Shield, Table
from core.defences.ensemble import Ensemble
from core.defences.learned import Denoised, Learned
from core.defences.names import defence_by_name, table_and_space
from core.defences.smoothing import GaussianBlur, GaussianNoise
from core.defences.transform import TableDefence
from core.defences.tvm import TotalVariation

__all__ = [
    "SPACES",
    "Defence",
    "Defended",
    "Denoised",
    "Ensemble",
    "GaussianBlur",
    "GaussianNoise",
    "Jpeg",
    "Learned",
    "Nothing",
    "Shield",
    "Table",
    "TableDefence",
    "TotalVariation",
    "defence_by_name",
    "table_and_space",
]
