"""Labelled images. All of `core.data`."""

from core.data import *
