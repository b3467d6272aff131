"""Rows to answers: schema, store, queries, figures. Needs neither torch nor Ray."""

from results.answer import Answer, publish
from results.counts import (
    Rows,
    accuracies,
    compared,
    gains,
    group_note,
    grouped,
    once,
    shares,
    test_of,
)
from results.draw import bars, curves, heat, png, squares
from results.gallery import Picture, gallery, sheet
from results.query import load
from results.store import Store
from results.tables.surface import summary
from results.tables.winner import MeasuredBands, winner
from results.words import gained, interval, text_table, whole

__all__ = [
    "Answer",
    "MeasuredBands",
    "Picture",
    "Rows",
    "Store",
    "accuracies",
    "bars",
    "compared",
    "curves",
    "gained",
    "gains",
    "gallery",
    "group_note",
    "grouped",
    "heat",
    "interval",
    "load",
    "once",
    "png",
    "publish",
    "shares",
    "sheet",
    "squares",
    "summary",
    "test_of",
    "text_table",
    "whole",
    "winner",
]
