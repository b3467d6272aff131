"""Small studies for tests of the engine, importable by its workers."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from core.errors import InputError
from results import schema
from search.engine import task
from search.engine.study import Made, Place, Study


@dataclass(frozen=True, kw_only=True)
class Cell:
    number: int
    sleep_s: float = 0.0
    fails: str = ""  # "bug", "input", "worker": how; "once:FILE" fails until FILE exists;
    # "sick:FILE" fails in the one process that could make FILE, whose device answers no more


@dataclass(frozen=True, kw_only=True)
class Row:
    position: int
    square: int


def load(_: Cell, place: Place) -> int:
    return place.n_threads


def evaluate(cell: Cell, n_threads: int) -> schema.Columns:
    time.sleep(cell.sleep_s)
    kind, _, path = cell.fails.partition(":")
    if kind == "bug":
        return {"position": [1 // (n_threads - n_threads)], "square": [0]}
    if kind == "input":
        raise InputError("expected an even number, found an odd one.\nHint: add one.")
    if kind == "worker":
        os._exit(1)
    if kind == "sick":
        fail_where_sick(path)
    if kind in ("once", "worker-once") and not Path(path).exists():
        Path(path).touch()
        if kind == "worker-once":
            os._exit(1)
        raise RuntimeError("not yet")
    return {"position": [0, 1, 2], "square": [cell.number**2] * 3}


def sick(_: str) -> bool:
    return True


def fail_where_sick(path: str) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        task.broken = sick
    except FileExistsError:
        pass
    if task.broken is sick:
        raise RuntimeError("an illegal memory access was encountered")


SQUARES = Study("squares", 1, Cell, Row, load, evaluate)


@dataclass(frozen=True, kw_only=True)
class PieceRow:
    position: int
    piece: str
    piece_bytes: int


def load_place(_: Cell, place: Place) -> Place:
    return place


def make(cell: Cell, place: Place) -> Made:
    """Counts in the second attempt from where the first was killed."""
    kept = place.kept.read()
    if kept is None:
        place.kept.write({"ones": torch.ones(cell.number)}, {"n": cell.number})
        raise RuntimeError("killed")
    return Made({"position": [0, 1]}, {"twos": 2 * kept[0]["ones"]}, {"kind": "twos"}, place.kept)


TWOS = Study("twos", 1, Cell, PieceRow, load_place, make)
