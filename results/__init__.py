"""Rows to answers: schema, store, queries, figures. Needs neither torch nor Ray.

Each name is imported when it is first asked for: not everyone draws.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from results.query import load
    from results.sheets import Picture, gallery, sheet
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
_HOMES = {
    "answer": "Answer publish",
    "counts": "Rows accuracies compared gains group_note grouped once shares test_of",
    "draw": "bars curves heat png squares",
    "sheets": "Picture gallery sheet",
    "query": "load",
    "store": "Store",
    "tables.surface": "summary",
    "tables.winner": "MeasuredBands winner",
    "words": "gained interval text_table whole",
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
