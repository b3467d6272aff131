"""The table search's answer, written where people find it: text, Parquet, figure."""

import io
from dataclasses import dataclass

import pandas as pd

from results.figures import table_heatmaps
from results.store import Store
from results.tables import NoFeasibleTable, Winner, answer_text, summary, winner


@dataclass(frozen=True)
class Published:
    """What was said and where it was written."""

    text: str
    files: dict[str, str]  # what -> address


def choose(
    rows: pd.DataFrame, *, max_decline_points: float, partial: bool
) -> tuple[Winner | None, str]:
    """The winner, or None and the words that say why there is none."""
    try:
        return winner(rows, max_decline_points=max_decline_points, partial=partial), ""
    except NoFeasibleTable as none:
        return None, str(none)


def publish(
    store: Store,
    sweep: str,
    rows: pd.DataFrame,
    report: pd.DataFrame | None,
    *,
    title: str,
    max_decline_points: float = 1.0,
    partial: bool = False,
) -> Published:
    """Write the surface as Parquet and as a figure; word the answer.

    `report` holds held-out rows of the baselines and the winner, None where there is no winner.
    """
    lines = summary(rows, partial=partial)
    best, why_not = choose(rows, max_decline_points=max_decline_points, partial=partial)
    text = why_not
    if best is not None:
        text = answer_text(rows, report, max_decline_points=max_decline_points, partial=partial)
    files = {
        "rows": store.root.path(store.folder("qtable_search", sweep)),
        "surface": store.put(f"answers/{sweep}/surface.parquet", _parquet(lines)),
    }
    if report is not None:
        held_out = _parquet(summary(report))
        files["report"] = store.put(f"answers/{sweep}/report.parquet", held_out)
    figure = table_heatmaps(lines, best, title=title, max_decline_points=max_decline_points)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    files["figure"] = store.put(f"answers/{sweep}/surface.png", picture.getvalue())
    store.put(f"answers/{sweep}/answer.txt", f"{title}\n{text}\n".encode())
    return Published(text, files)


def _parquet(frame: pd.DataFrame) -> bytes:
    return bytes(frame.to_parquet(index=False))
