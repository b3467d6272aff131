"""Rows of sweeps: read, counted, compared."""

from results import load, summary, winner
from results.stats import mcnemar, wilson
from results.where import default_store

__all__ = ["default_store", "load", "mcnemar", "summary", "wilson", "winner"]
