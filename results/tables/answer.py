"""The table search's answer: text, surface, held-out report, map, and the winning table."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from results.answer import Answer
from results.counts import Rows, once
from results.tables.flat import best_flat, flat_text
from results.tables.rate import priced, rate_front, rate_text
from results.tables.screened import screened_text
from results.tables.surface import summary, verdict
from results.tables.winner import MeasuredBands, NoFeasibleTable, answer_text, report_lines, winner

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure


def table_answer(
    rows: Rows,
    report: Rows,
    flat: Rows | None = None,
    *,
    title: str,
    under: str = "attack",
    max_decline_points: float = 1.0,
    partial: bool = False,
    whole: tuple[Sequence[int], Sequence[int]] | None = None,
    bands: MeasuredBands | None = None,
    export: str = "",
    jpeg: Rows | None = None,
    rates: Rows | None = None,
) -> Answer:
    """Word and draw the answer.

    `under` names the attack. `report` holds held-out rows of the baselines, the winner and the best
    flat table, where there are such; `flat` are lines of `summary` of flat tables on the images of
    the search. `export` is the winner as libjpeg reads it. `whole` is the grid, patterns and steps,
    of a `partial` search. `bands` say what the patterns stand for where they are not the paper's
    diagonals. `rates` are rows of the study rate_distortion that say what pictures cost under all
    of these tables and under qualities of JPEG, `jpeg` the latter's lines.
    """
    key, limit = ["subject", "table"], max_decline_points
    rows = once(rows, key)
    report = once(report, key)
    surface = summary(rows, partial=partial)
    try:
        best = winner(rows, max_decline_points=limit, partial=partial)
        text = answer_text(rows, None, max_decline_points=limit, partial=partial, bands=bands)
    except NoFeasibleTable as none:
        best, text = None, str(none)
    level = None
    if flat is not None:
        text += f"\n{flat_text(flat, max_decline_points=limit)}"
        level = best_flat(flat, max_decline_points=limit)
    table = None if best is None else best.table
    said = f"no table stays below {limit:g} points of benign accuracy, the price that is allowed"
    if table is not None:
        said = verdict(report, table, "the winner" if bands else table, under)
    text += "\n".join(["", *screened_text(rows)])
    text += "\n".join(["", *report_lines(report, table, level, "winner" if bands else table)])
    if best is not None and not best.line["n_successful"]:
        text += "\nnote: no adversarial example succeeded, so Def says nothing of a defence"
    look: dict[str, Any] = {"title": title, "max_decline_points": limit}
    figures: dict[str, Callable[[], Figure]] = {
        "surface": functools.partial(
            _heatmaps, surface, best, bands=bands, whole=whole if partial else None, **look
        )
    }
    if flat is not None:
        figures["front"] = functools.partial(_front, surface, flat, winner=table, **look)
        surface = pd.concat([flat, surface])
    frames = {"surface": surface, "report": summary(report)}
    if rates is not None:
        frames["surface"] = lines = priced(pd.concat([jpeg, surface]), rates)
        frames["front_rate"] = best_rates = rate_front(lines, max_decline_points=limit)
        text += "\n".join(["", *rate_text(lines, best_rates, table, level, limit)])
        figures["rate"] = functools.partial(_rate, lines, best_rates, winner=table, **look)
    return Answer(
        text=f"{title}\n{text}",
        verdict=said,
        frames=frames,
        figures=figures,
        files={"winner.qtable.txt": export.encode()} if export else {},
    )


def _heatmaps(*lines: Any, **look: Any) -> "Figure":
    from results.tables.picture import table_heatmaps  # noqa: PLC0415 - a second of import

    return table_heatmaps(*lines, **look)


def _front(*lines: Any, **look: Any) -> "Figure":
    from results.tables.picture import front  # noqa: PLC0415 - as above

    return front(*lines, **look)


def _rate(*lines: Any, **look: Any) -> "Figure":
    from results.tables.picture import rate_figure  # noqa: PLC0415 - as above

    return rate_figure(*lines, **look)
