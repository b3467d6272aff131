"""The table search's answer: text, surface, held-out report, map, and the winning table."""

from results.answer import Answer
from results.counts import Rows, once
from results.tables.picture import table_heatmaps
from results.tables.surface import summary
from results.tables.winner import MeasuredBands, NoFeasibleTable, answer_text, winner


def table_answer(
    rows: Rows,
    report: Rows | None,
    *,
    title: str,
    max_decline_points: float = 1.0,
    partial: bool = False,
    bands: MeasuredBands | None = None,
    export: str = "",
) -> Answer:
    """Word and draw the answer.

    `report` holds held-out rows of the baselines and the winner, None where there is no winner;
    `export` is the winner as libjpeg reads it. `bands` say what the patterns stand for where they
    are not the paper's diagonals.
    """
    key, limit = ["subject", "table"], max_decline_points
    rows = once(rows, key)
    report = None if report is None else once(report, key)
    surface = summary(rows, partial=partial)
    try:
        best = winner(rows, max_decline_points=limit, partial=partial)
        text = answer_text(rows, report, max_decline_points=limit, partial=partial, bands=bands)
    except NoFeasibleTable as none:
        best, text = None, str(none)
    if best is not None and not best.line["n_successful"]:
        text += "\nnote: no adversarial example succeeded, so Def says nothing of a defence"
    figure = table_heatmaps(surface, best, title=title, max_decline_points=limit, bands=bands)
    return Answer(
        text=f"{title}\n{text}",
        frames={"surface": surface} | ({} if report is None else {"report": summary(report)}),
        figures={"surface": figure},
        files={"winner.qtable.txt": export.encode()} if export else {},
    )
