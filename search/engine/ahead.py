"""The next cell's pieces of the bank, fetched while the present one computes."""

import contextlib
import json
import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from results.files import Root
from search.engine.bank import Bank

_PIECE = re.compile(r"\b[0-9a-f]{64}\b")


def pieces_of(cell: Any) -> list[str]:
    """The pieces that a cell names, in whatever field: a piece's name is a digest."""
    return list(dict.fromkeys(_PIECE.findall(json.dumps(vars(cell)))))


def fetch(root: Root, pieces: Sequence[str]) -> None:
    """Have pieces near by the time that they are asked for, each once a process.

    Of a local store they are then in the system's memory, of a remote one among this machine's
    copies. What goes wrong is said to whoever asks for the piece.
    """
    for piece in pieces:
        _fetch(Bank(root), piece)


@lru_cache(maxsize=1024)
def _fetch(bank: Bank, piece: str) -> None:
    threading.Thread(target=_read, args=(bank, piece), daemon=True).start()


def _read(bank: Bank, piece: str) -> None:
    with contextlib.suppress(OSError):
        bank.read(piece)
