"""One way to print counts."""

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

WIDTH = 80  # columns of a terminal
LEAST_P = 1e-300  # below it floating point ends

_LIMITS = re.compile(r"[\[{] *[-+\d][^]}]{,16}[]}]")  # of an interval, which no line cuts


def interval(line: Any, name: str = "accuracy", *, low: str = "low", high: str = "high") -> str:
    """A value with its limits, "44.5 [ 38.1,  51.2]"; "-" where there is none.

    Behind them, in braces, those of groups: `group_low` and `group_high`, where the line has them.
    """
    numbers = (line[name], line[low], line[high])
    value, least, most = (round(float(number), 1) + 0.0 for number in numbers)  # no "-0.0"
    if np.isnan(value):
        return "-"
    return f"{value:5.1f} [{least:5.1f}, {most:5.1f}]{braces(line, low, high, '5.1f')}"


def whole(line: Any, name: str = "accuracy") -> str:
    """As `interval`, in whole percent."""
    limits = f"[{line['low']:.0f}, {line['high']:.0f}]{braces(line, 'low', 'high', '.0f')}"
    return f"{line[name]:.0f} {limits}"


def of_runs(cell: Callable[[Any], str]) -> Callable[[Any], str]:
    """`cell` of a line, of several runs with the least and the most of one."""

    def text(line: Any) -> str:
        runs = f" ({line['run_least']:.0f}..{line['run_most']:.0f})" if "run_least" in line else ""
        return cell(line) + runs

    return text


def runs_note(n: int) -> str:
    """What `of_runs` shows."""
    return (
        f"( ): the least and the most of {n} runs, each with networks of its own; before it their "
        "mean"
    )


def price(points: float) -> str:
    """What a defence costs in points of benign accuracy, behind what it gains."""
    rounded = round(points, 1)
    if rounded > 0:
        return f"for {rounded:.1f} points of benign accuracy"
    more = f"with {-rounded:.1f} points more of benign accuracy"
    return more if rounded < 0 else "at no benign cost"


def from_to(before: float, after: float) -> str:
    """Two shares of right answers, in percent."""
    return f"{before:.1f} to {after:.1f} % right"


def gained(line: Any) -> str:
    """A line of `results.gains`: the difference with its limits, in whole points, and p.

    p is that of groups where they are known.
    """
    limits = f"[{line['low']:+.0f}, {line['high']:+.0f}]{braces(line, 'low', 'high', '+.0f')}"
    return f"{line['gain']:+.0f} {limits} {chance(line)}"


def moved(line: Any) -> str:
    """Points gained of a `gain`, its interval and p; [-] where resampling says nothing."""
    limits = "-" if np.isnan(line["low"]) else f"{line['low']:+.1f}, {line['high']:+.1f}"
    return f"{line['gain']:+.1f} [{limits}] {chance(line)}"


def chance(line: Any) -> str:
    """A line's p, "p 0.012"; that of groups where they are known. None is shown as 0."""
    p = line.get("group_p", line["p"])
    return "p < 1e-300" if p < LEAST_P else f"p {p:.2g}"


def braces(line: Any, low: str, high: str, number: str) -> str:
    """Behind an interval the limits of groups, where the line has them."""
    least, most = line.get(f"group_{low}"), line.get(f"group_{high}")
    if least is None:
        return ""
    return " {-}" if np.isnan(least) else f" {{{least:{number}}, {most:{number}}}}"


def extent(values: Iterable[int]) -> str:
    """From the least to the most."""
    distinct = set(values)
    low, high = min(distinct), max(distinct)
    return f"{low}" if low == high else f"{low}..{high}"


def plain(value: object) -> str:
    """A head of a table or a map: whole numbers without their zeros."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def check_places(lines: pd.DataFrame, by: list[str]) -> None:
    """ValueError where two lines want one place of a table or a map."""
    again = lines[lines.duplicated(by)]
    if not again.empty:
        raise ValueError(
            f"expected one line for each of {', '.join(by)}, found two for "
            f"{again[by].iloc[0].to_dict()}.\nHint: count by these columns alone."
        )


def text_table(
    lines: pd.DataFrame, down: str, across: str, *, cell: Callable[[Any], str] = interval
) -> str:
    """A line for each value of `down`, a column for each of `across`, as they first come.

    Columns for which 80 have no room follow below, with the values of `down` again.
    """
    check_places(lines, [down, across])
    texts = {(line[down], line[across]): cell(line) for _, line in lines.iterrows()}
    rows, columns = (list(dict.fromkeys(lines[name])) for name in (down, across))
    shown = {c: [texts.get((r, c), "") for r in rows] for c in columns}
    widths = {c: 2 + max(len(plain(c)), *map(len, shown[c])) for c in columns}
    first = max(len(down), *(len(plain(r)) for r in rows))
    out = []
    for part in _parts(columns, widths, WIDTH - first):
        out.append(f"{down:<{first}}" + "".join(f"{plain(c):>{widths[c]}}" for c in part))
        for i, row in enumerate(rows):
            cells = "".join(f"{shown[c][i]:>{widths[c]}}" for c in part)
            out.append(f"{plain(row):<{first}}{cells}")
    return "\n".join(out)


def _parts(columns: Sequence[Any], widths: dict[Any, int], room: int) -> Iterator[list[Any]]:
    """Columns one after the other, as many at a time as there is room for, and at least one."""
    part: list[Any] = []
    for column in columns:
        if part and sum(widths[c] for c in [*part, column]) > room:
            yield part
            part = []
        part.append(column)
    yield part


def fitted(text: str, width: int = WIDTH) -> str:
    """Lines of at most `width` columns; what is longer goes on below, as far in as its words."""
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    named = re.match(r" *\S+(?: \S+)*  +", line)  # a name, a gap, and what is said of it
    own = len(line) - len(line.lstrip()) + 2
    indent = " " * (len(named[0]) if named and len(named[0]) <= width // 3 else own)
    whole = _LIMITS.sub(lambda found: found[0].replace(" ", "\0"), line)
    folded = textwrap.fill(
        whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return folded.replace("\0", " ")
