"""Rows of sweeps: read, counted, compared."""

from results import load, summary, winner
from results.query import default_store
from results.stats import mcnemar, wilson

__all__ = ["default_store", "load", "mcnemar", "summary", "wilson", "winner"]
