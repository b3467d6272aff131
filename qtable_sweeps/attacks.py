"""Attacks: pixels and labels in, pixels out. All of `core.attacks`."""

from core.attacks import *
