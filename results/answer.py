"""The table search's answer, written where people find it: text, Parquet, figure."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from results.store import Store
from results.tables.picture import table_heatmaps
from results.tables.winner import (
    MeasuredBands,
    NoFeasibleTable,
    Winner,
    answer_text,
    summary,
    winner,
)


@dataclass(frozen=True)
class Answer:
    """What rows say."""

    title: str
    text: str
    surface: pd.DataFrame  # a line per table
    report: pd.DataFrame | None  # the same on held-out images
    winner: Winner | None
    max_decline_points: float
    bands: MeasuredBands | None = None


def once(rows: pd.DataFrame) -> pd.DataFrame:
    """Each image under each table once: two drivers may have measured some twice.

    ValueError where they disagree.
    """
    key = ["subject", "image", "table"]
    distinct = rows.drop_duplicates([*key, "predicted"])
    if distinct.duplicated(key).any():
        image = distinct[distinct.duplicated(key)].iloc[0]
        raise ValueError(
            f"image {image['image']} under {image['table']} was measured twice, with different "
            "predictions.\nHint: two machines compute differently; use one kind for a sweep."
        )
    return distinct


def answer(
    rows: pd.DataFrame,
    report: pd.DataFrame | None,
    *,
    title: str,
    max_decline_points: float = 1.0,
    partial: bool = False,
    bands: MeasuredBands | None = None,
) -> Answer:
    """Word the answer.

    `report` holds held-out rows of the baselines and the winner, None where there is no winner.
    `bands` say what the patterns stand for where they are not the paper's diagonals.
    """
    limit = max_decline_points
    surface = summary(rows, partial=partial)
    try:
        best = winner(rows, max_decline_points=limit, partial=partial)
        text = answer_text(rows, report, max_decline_points=limit, partial=partial, bands=bands)
    except NoFeasibleTable as none:
        best, text = None, str(none)
    held_out = None if report is None else summary(report)
    if best is not None and not best.line["n_successful"]:
        text += "\nnote: no adversarial example succeeded, so Def says nothing of a defence"
    return Answer(title, text, surface, held_out, best, limit, bands)


def publish(
    store: Store, study: str, sweep: str, answered: Answer, export: str
) -> Iterator[tuple[str, str]]:
    """Write surface, report, figure, text and the winning table; what and where, one by one."""
    frames = {"surface": answered.surface}
    if answered.report is not None:
        frames["report"] = answered.report
    picture = io.BytesIO()
    table_heatmaps(
        answered.surface,
        answered.winner,
        title=answered.title,
        path=picture,
        max_decline_points=answered.max_decline_points,
        bands=answered.bands,
    )
    yield from publish_files(
        store, study, sweep, text=f"{answered.title}\n{answered.text}\n", frames=frames,
        figure=("surface.png", picture.getvalue()),
    )  # fmt: skip
    if export:
        folder = f"answers/{sweep}"
        yield "table", store.put(f"{folder}/winner.qtable.txt", export.encode())


def publish_files(
    store: Store,
    study: str,
    sweep: str,
    *,
    text: str,
    frames: Mapping[str, pd.DataFrame],
    figure: tuple[str, bytes] | None = None,
) -> Iterator[tuple[str, str]]:
    """Write an answer's text, its tables by name, its figure (name, PNG); what and where."""
    yield "rows", store.root.path(store.folder(study, sweep))
    folder = f"answers/{sweep}"
    yield "answer", store.put(f"{folder}/answer.txt", text.encode())
    for name, frame in frames.items():
        data = bytes(frame.to_parquet(index=False))
        yield name, store.put(f"{folder}/{name}.parquet", data)
    if figure is not None:
        yield "figure", store.put(f"{folder}/{figure[0]}", figure[1])
