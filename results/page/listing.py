"""The state of sweeps in a line each, from what their runs wrote into the store."""

import datetime as dt
from typing import Any

from results.store import Store

_STALE_S = 60.0  # a running sweep writes its state every few seconds


def current(state: dict[str, Any]) -> str:
    """A sweep's state now: one that says "running" but gave no sign of life has stopped.

    So has one that speaks from the future: its clock, or that of its file, was wrong.
    """
    if state["state"] != "running":
        return str(state["state"])
    silence = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(state["updated_at"])
    return "running" if abs(silence.total_seconds()) < _STALE_S else "stopped"


def is_listed(state: dict[str, Any]) -> bool:
    """Whether a sweep is told of: what others stand on is so only while it is made."""
    return bool(state.get("listed", True)) or current(state) != "complete"


def listing(states: list[dict[str, Any]], store: Store) -> str:
    """The store, and two lines per sweep, the latest last: which one, and how it stands."""
    states = [state for state in states if is_listed(state)]
    if not states:
        return f"no sweeps in {store.root.uri}"
    shown = [f"sweeps in {store.root.uri}"]
    for state in sorted(states, key=lambda state: state["updated_at"]):
        one = line(state)
        said = [one["updated"], one["state"], f"{one['cells']} cells"]
        said += [f"{one['failed']} failed"] * bool(one["failed"])
        said += [one["rate"], one["left"] and f"{one['left']} left"]
        said.append(one["best"] and f"best {one['best']}")
        shown += [f"{one['study']} {one['sweep']}", f"  {', '.join(filter(None, said))}"]
    return "\n".join(shown)


def line(state: dict[str, Any]) -> dict[str, Any]:
    """What a listing says of one sweep, by column."""
    return {
        "study": state["study"],
        "sweep": state["sweep"],
        "state": current(state),
        "cells": cells(state),
        "failed": len(state["failed"]),
        "rate": rate(state),
        "left": left(state),
        "updated": state["updated_at"][:19].replace("T", " "),
        "best": state["best"],
    }


def cells(state: dict[str, Any]) -> str:
    """Done and all; all is known of a search best-first when it ends."""
    done = state["n_done"]
    known = state["n_cells"] or (done if state["state"] == "complete" else "?")
    return f"{done}/{known}"


def rate(state: dict[str, Any]) -> str:
    """How fast a running sweep's cells end, "" where none runs."""
    if current(state) != "running" or not state.get("rate_per_s"):
        return ""
    per_s = state["rate_per_s"]
    return f"{per_s:.1f}/s" if per_s >= 0.1 else f"{60 * per_s:.1f}/min"


def left(state: dict[str, Any]) -> str:
    """How long a running sweep still takes, "" where that is not known."""
    if current(state) != "running" or state.get("left_s") is None:
        return ""
    return f"{dt.timedelta(seconds=round(state['left_s']))}"
