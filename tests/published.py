"""Small stores with states, rows and answers, for tests of what is read from them."""

import pandas as pd
from matplotlib.figure import Figure
from studies import SQUARES, Cell

from results import Answer, publish
from search.engine.task import evaluate_cell

EVIL = '<img src=x onerror="hacked=1">%41'
EVIL_TEXT = f"</pre></dd></style></script><script>hacked=1</script>{EVIL}\ud800 &amp; 'quoted'"
SCORES = pd.DataFrame(
    {
        "table": ["b", "a", "none"], "qs_af": pd.array([10, 9, None], "Int64"), "n_adv": 200,
        "n_right": [50, 19, 200], "def_all": [25.0, 9.5, 100.0], "def_all_low": [19.5, 6.2, 98.1],
        "def_all_high": [31.4, 14.4, 100.0],
    }
)  # fmt: skip


def swept(store, study="squares", sweep="w", *, n_cells=2, **state):
    """Rows of some cells, and what a run says of itself."""
    for number in range(n_cells):
        rows = evaluate_cell(SQUARES, Cell(number=number), store)
        store.write(study, sweep, rows)
    facts = {
        "study": study, "sweep": sweep, "state": "complete", "n_cells": n_cells, "n_done": n_cells,
        "failed": {}, "best": "", "updated_at": "2026-01-01T00:00:00.000000+00:00",
        "command": "jobs/squares.py --store x",
    }  # fmt: skip
    store.write_state(study, sweep, facts | state)


def picture():
    figure = Figure(figsize=(6, 4))
    figure.subplots().plot([1, 3, 2])
    return figure


def answered(
    store, sweep="w", *, text="squares, all\nanswer 4.0 [3.0, 5.0]\n", frames=None, verdict=""
):
    kept = {"scores": SCORES} if frames is None else frames
    shown = {"frames": kept, "figures": {"curve": picture()}}
    answer = Answer(text=text.rstrip("\n"), verdict=verdict, **shown)
    list(publish(store, "squares", sweep, answer))


def hostile(store):
    """A store in which every text that a user or an error can choose breaks out of HTML."""
    swept(
        store, EVIL, EVIL, state="failed", failed={EVIL_TEXT: EVIL_TEXT}, best=EVIL_TEXT,
        command=EVIL_TEXT,
    )  # fmt: skip
    head = f"2026-01-01T00:00:00Z  command: {EVIL}"
    store.write_log(EVIL, EVIL, EVIL, [head, f"2026-01-01T00:00:01Z  {EVIL}"])
    frame = SCORES.assign(table=["b", "a", EVIL], **{EVIL: EVIL})
    text = EVIL_TEXT.replace("\ud800", "")
    answered(store, EVIL, text=text, frames={EVIL: frame}, verdict=text)
    store.put(f"answers/{EVIL}/{EVIL}.txt", text.encode())
    store.put(f"answers/{EVIL}/{EVIL}.safetensors", b"")
    store.put(f"answers/{EVIL}/{EVIL}.png", b"torn")
