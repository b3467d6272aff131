"""The table search's questions: which table wins, who ties with it, and is it true held out?"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from results.stats import paired_difference
from results.tables.surface import (
    SUBJECTS,
    Bools,
    Integers,
    Surface,
    complete,
    feasible,
    gained_text,
    group_limits,
    grouped_text,
    lines_of,
    measure,
    report_text,
    summary,
    surface_of,
)
from results.words import extent

BASELINES = ("none", "ijg75", "uniform16")
PAPER = {"paper (ImageNet)": "QS_OF 16, QS_AF 50"}


class NoFeasibleTable(ValueError):  # noqa: N818 - an outcome of the search, not a fault in it
    """Every table loses at least the allowed accuracy on benign images."""


@dataclass(frozen=True, kw_only=True)
class MeasuredBands:
    """Bands of smallest delta_a / delta_b instead of diagonals, by pattern k."""

    n_favoured: Mapping[int, int]  # original-favoured coefficients: as many as in k diagonals
    n_shared: Mapping[int, int]  # how many of them do lie in the first k diagonals


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The best feasible table of one search.

    `tied` are the feasible tables whose 95 % paired-bootstrap interval of Def minus the winner's
    includes 0, itself among them; one at a time, on the images that chose the winner. Where groups
    of images are known, they are resampled.
    """

    table: str
    pattern: int
    qs_of: int
    qs_af: int
    line: "pd.Series[float]" = field(compare=False, repr=False)  # of `summary`
    tied: tuple[str, ...]  # by pattern, then qs_af
    tied_lines: pd.DataFrame = field(compare=False, repr=False)  # of `summary`, in the same order
    edges: str  # where it lies at an end of the searched range that could be moved, or ""
    n_feasible: int  # tables that keep the decline rule
    n_tables: int  # tables that competed


def winner(rows: pd.DataFrame, *, max_decline_points: float = 1.0, partial: bool = False) -> Winner:
    """The table with the largest Def among those whose Acc_dec is strictly below the limit.

    Ties go to the smaller Acc_dec, then the larger pattern, then the smaller qs_af, in whole
    images. Only tables with a pattern, measured on all images, compete or can be tied.
    NoFeasibleTable, which names the one that loses least, where all lose too much; ValueError as
    `summary`, or where a subject is absent or no table has a pattern.

    Source: Algorithm 1: maximise Def subject to Acc_dec < 1.
    """
    surface = surface_of(rows)
    lines = lines_of(surface, complete(surface, partial=partial))
    lines = lines[lines["pattern"].notna()]
    _check_contest(lines)
    allowed = lines[feasible(lines, max_decline_points=max_decline_points)]
    if allowed.empty:
        raise NoFeasibleTable(_closest(lines, max_decline_points))
    # All have as many images, so percentages order as counts do.
    keys = {"n_adv_right": False, "acc_dec": True, "pattern": False, "qs_af": True, "table": True}
    allowed = allowed.sort_values(list(keys), ascending=list(keys.values()))
    line = allowed.iloc[0]
    tied = allowed[_tied(surface, allowed.index.to_numpy())].sort_index()
    return Winner(
        table=str(line["table"]),
        pattern=int(line["pattern"]),
        qs_of=int(line["qs_of"]),
        qs_af=int(line["qs_af"]),
        line=line,
        tied=tuple(tied["table"]),
        tied_lines=tied.reset_index(drop=True),
        edges=_edges(line, surface.tables[surface.tables["pattern"].notna()]),
        n_feasible=len(allowed),
        n_tables=len(lines),
    )


def answer_text(
    search_rows: pd.DataFrame,
    report_rows: pd.DataFrame | None,
    *,
    max_decline_points: float = 1.0,
    partial: bool = False,
    bands: MeasuredBands | None = None,
) -> str:
    """The answer as aligned text of at most 80 columns, every figure with its 95 % interval.

    `search_rows` choose the winner. `report_rows` are held-out ones of the BASELINES and the winner
    on the same images (other tables are left out), complete in any case; None prints the search
    alone. `bands` say what the patterns stand for where they are not the paper's diagonals.
    NoFeasibleTable and ValueError as `winner`, or where the report lacks a table.
    """
    best = winner(search_rows, max_decline_points=max_decline_points, partial=partial)
    k, tied = best.pattern, best.tied_lines
    line = best.line
    n_benign, n_adv, n_successful = line[["n_benign", "n_adv", "n_successful"]]
    if "group" in search_rows:
        line = pd.concat([line, group_limits(search_rows, [best.table]).iloc[0]])
    band = of_patterns([k], bands)
    facts = {"winner": f"{best.table}: {band}, QS_OF {best.qs_of}, QS_AF {best.qs_af}"}
    if bands is None:
        facts |= PAPER
    else:
        facts["band"] = (
            f"{bands.n_shared[k]} of {bands.n_favoured[k]} OF coefficients lie in the diagonals "
            f"of k {k}"
        )
    facts |= {
        "Acc_dec": f"{measure(line, 'acc_dec')} points    n {n_benign}",
        "Def, all": f"{measure(line, 'def_all')} %         n {n_adv}",
        "Def, successful": f"{measure(line, 'def_successful')} %         n {n_successful}",
        "feasible": f"{best.n_feasible} of {best.n_tables} tables (Acc_dec < "
        f"{max_decline_points:g})",
        "tied": f"{'at least ' * partial}{len(best.tied)} of them: "
        f"{of_patterns(tied['pattern'], bands)}, "
        f"QS_AF {extent(tied['qs_af'])}",
    }
    if partial:
        facts["tables"] = (
            f"{best.n_tables} measured on all images; all others were ruled out before"
        )
    text = ["search", *(f"  {name:<17}{fact}" for name, fact in facts.items())]
    if best.edges:
        text.append(f"  note: the winner lies at the edge of what was searched ({best.edges})")
    if max_decline_points * n_benign <= 100:
        text.append(
            f"  note: one of {n_benign} benign images is {100 / n_benign:.3g} points, so the limit "
            "allows none to be lost"
        )
    if report_rows is not None:
        text += report_lines(report_rows, best.table, None, "winner" if bands else best.table)
    return "\n".join(text)


def of_patterns(patterns: Iterable[int], bands: MeasuredBands | None) -> str:
    """From which to which pattern: by k, or by how many coefficients measured bands hold."""
    if bands is None:
        return f"k {extent(patterns)}"
    return f"n_OF {extent(bands.n_favoured[k] for k in patterns)}"


def report_lines(
    rows: pd.DataFrame, table: str | None, flat: str | None, called: str | None
) -> list[str]:
    """The held-out report: the baselines, the best flat table, the winner, and what is gained.

    ValueError where one of them lacks.
    """
    own = [name for name in (flat, table) if name is not None]
    wanted = list(dict.fromkeys([*BASELINES, *own]))
    absent = set(wanted) - set(rows["table"].unique())
    if absent:
        raise ValueError(
            f"expected the tables {wanted} in the held-out report, found none of "
            f"{sorted(absent)}.\nHint: report after the search: it must measure the winner."
        )
    lines = summary(rows[rows["table"].isin(wanted)]).set_index("table")
    names = {name: called or name if name == table else name for name in wanted}
    pairs = {("none", own[-1]): "over none"} if own else {}
    if flat is not None and table is not None:
        pairs[flat, table] = f"over {flat}"
    text = report_text(lines, "table", names) + grouped_text(rows, "table", names)
    return text + (gained_text(rows, pairs) if pairs else [])


def _tied(surface: Surface, places: Integers) -> Bools:
    """Which of the tables at `places` the bootstrap cannot tell from the first; [places]."""
    column = np.full(len(surface.tables), -1)
    column[places] = np.arange(len(places))
    rows = (surface.subject == SUBJECTS.index("adversarial")) & (column[surface.table] >= 0)
    images, image = np.unique(surface.image[rows], return_inverse=True)
    correct = np.zeros((len(images), len(places)), dtype=np.bool_)
    correct[image, column[surface.table[rows]]] = surface.right[rows]
    groups = None
    if surface.group is not None:
        of_image = np.zeros(len(images), dtype=np.int64)
        of_image[image] = surface.group[rows]
        groups = np.unique(of_image, return_inverse=True)[1]
    low, high = paired_difference(correct, reference=0, groups=groups)
    return (low <= 0) & (high >= 0)


def _edges(line: "pd.Series[float]", tables: pd.DataFrame) -> str:
    """At which ends of the searched patterns and steps it lies, where there is more beyond."""
    found = []
    for name, called, least, most in (("pattern", "k", 1, 15), ("qs_af", "QS_AF", 1, 255)):
        low, high = tables[name].min(), tables[name].max()
        if low < high and line[name] in {low, high} - {least, most}:
            found.append(f"{called} {line[name]} of {low}..{high}")
    return ", ".join(found)


def _check_contest(lines: pd.DataFrame) -> None:
    n_benign, n_adv = (0, 0) if lines.empty else lines[["n_benign", "n_adv"]].iloc[0]
    if not (n_benign and n_adv):
        raise ValueError(
            f"expected tables with a pattern on benign and adversarial images, found "
            f"{len(lines)} such tables on {n_benign} and {n_adv}.\n"
            "Hint: a winner needs the search of both subjects; `summary` takes either."
        )


def _closest(lines: pd.DataFrame, max_decline_points: float) -> str:
    line = lines.sort_values(["acc_dec", "table"]).iloc[0]
    return (
        f"expected a table with Acc_dec < {max_decline_points:g} points, found none among "
        f"{len(lines)}: the closest is {line['table']}, which loses {line['acc_dec']:.2f} points "
        f"of {line['n_benign']} images.\n"
        "Hint: search smaller steps, or allow more by --max-decline (max_decline_points)."
    )
