"""The table that a study takes where none is named: a search's winner, else the paper's."""

import contextlib
import hashlib

from core.codec import qtable
from core.errors import InputError
from results.answer import SUMS
from results.rowfile import read_rows, row_files
from results.store import Store
from search.inputs.loading import Inputs
from search.progress import say

PAPERS = "k3-of16-af51"  # 16 / 50 on the paper's own grid of steps, 1, 6, .. 121
STANDARD = "ijg50"
_STUDY = "qtable_search"


def usual_table(store: Store, inputs: Inputs, codec: str = "ours") -> str:
    """The table of quality 50 for these data and this network, said aloud.

    The winner of the last search that the store holds of them, where it is of Algorithm 1's family
    (k diagonals, RGB), and no smoke run's; else the paper's. The standard table for the codec
    "jpeg".
    """
    if codec == "jpeg":
        return STANDARD
    done = [s for s in store.states() if s["study"] == _STUDY and s["state"] == "complete"]
    done = [s for s in done if "--smoke" not in str(s.get("command")).split()]
    for state in sorted(done, key=lambda state: str(state["updated_at"]), reverse=True):
        sweep = str(state["sweep"])
        if (name := _winner(store, sweep)) and _asked_of(store, sweep, inputs):
            say(f"table {name}: the winner of {sweep} (--table names another)")
            return name
    say(
        f"table {PAPERS}, the paper's: the store holds no finished search of {inputs.data} with "
        f"{inputs.model} (jobs/qtable_search.py; --table names another)"
    )
    return PAPERS


def _winner(store: Store, sweep: str) -> str | None:
    """What a search's answer says, where it is such a table; said aloud where it was damaged."""
    folder, name = f"answers/{sweep}", "winner.qtable.txt"
    try:
        data = store.root.read(f"{folder}/{name}")
        if store.root.exists(f"{folder}/{SUMS}"):  # not of earlier versions
            sums = store.root.read(f"{folder}/{SUMS}").decode("ascii", "replace").splitlines()
            if f"{hashlib.sha256(data).hexdigest()}  {name}" not in sums:
                where = store.root.path(f"{folder}/{name}")
                say(
                    f"warning: {where} is not as it was published, so it is passed over.\n"
                    "Hint: the search's own command writes it anew."
                )
                return None
        return qtable.parse_defensive(data.decode().partition(",")[0].removeprefix("# ")).name
    except (FileNotFoundError, UnicodeDecodeError, InputError):
        return None


def _asked_of(store: Store, sweep: str, inputs: Inputs) -> bool:
    """Whether a search was of these data and this network, by its first rows that can be read."""
    mine = ("data", "side", "fingerprint", "model")
    wanted = {name: getattr(inputs, name) for name in mine}
    with contextlib.suppress(ValueError):  # a torn compaction: the sweep itself says so
        for name in row_files(store.root, _STUDY, sweep):
            with contextlib.suppress(ValueError):  # likewise
                rows = read_rows(store.root, name, _STUDY, mine)
                return bool(rows.slice(0, 1).to_pylist() == [wanted])
    return False
