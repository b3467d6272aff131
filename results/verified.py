"""Which files of a sweep were checked, so that a resume need not read them again.

A note beside the rows, `verified/study=STUDY/sweep=SWEEP.json`: of every file of one cell its size,
its time of last change and its rows, when it was written or last read whole. A file is believed to
be as it was while a listing shows the same size and time. A note that is lost, torn or of something
else costs a reading of the files, no more; one that lies is dropped by the first reader of rows.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping

from results.files import Root

Checked = tuple[int, int, int]  # bytes, nanoseconds of the last change, rows


def verified(root: Root, folder: str, kind: str) -> dict[str, Checked]:
    """Cells whose files stand in a folder as they were checked; `kind`: version and columns."""
    try:
        note = json.loads(root.read(_name(folder)))
        if note["digest"] != _digest(folder, kind, note["files"]):
            return {}
        files = {cell_id: (size, at, rows) for cell_id, (size, at, rows) in note["files"].items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    there = root.stamps(folder)
    return {
        cell_id: checked
        for cell_id, checked in files.items()
        if there.get(f"{cell_id}.parquet") == checked[:2]
    }


def note_verified(root: Root, folder: str, kind: str, files: Mapping[str, Checked]) -> None:
    """Replace the note; where the store takes nothing, there is none."""
    note = {"files": files, "digest": _digest(folder, kind, files)}
    with contextlib.suppress(OSError):
        root.write(_name(folder), json.dumps(note, sort_keys=True).encode())


def forget_verified(root: Root, folder: str) -> None:
    """Drop the note: the next run reads every file and mends what is damaged."""
    with contextlib.suppress(OSError):
        root.delete(_name(folder))


def _name(folder: str) -> str:
    return f"verified/{folder.removeprefix('rows/')}.json"


def _digest(folder: str, kind: str, files: object) -> str:
    return hashlib.sha256(json.dumps([folder, kind, files], sort_keys=True).encode()).hexdigest()
