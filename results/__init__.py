"""Rows to answers: schema, store, queries, figures. Needs neither torch nor Ray."""

from results.answer import answer, once, publish, publish_files
from results.query import load
from results.store import Store
from results.tables.winner import MeasuredBands, summary, winner

__all__ = [
    "MeasuredBands",
    "Store",
    "answer",
    "load",
    "once",
    "publish",
    "publish_files",
    "summary",
    "winner",
]
