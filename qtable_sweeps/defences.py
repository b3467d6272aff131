"""Defences: modules in front of any model. All of `core.defences`."""

from core.defences import *
