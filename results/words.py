"""One way to print counts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd


def interval(line: Any, name: str = "accuracy", *, low: str = "low", high: str = "high") -> str:
    """A value with its limits, "44.5 [ 38.1,  51.2]"; "-" where there is none."""
    numbers = (line[name], line[low], line[high])
    value, least, most = (round(float(number), 1) + 0.0 for number in numbers)  # no "-0.0"
    return "-" if np.isnan(value) else f"{value:5.1f} [{least:5.1f}, {most:5.1f}]"


def whole(line: Any, name: str = "accuracy") -> str:
    """As `interval`, in whole percent."""
    return f"{line[name]:.0f} [{line['low']:.0f}, {line['high']:.0f}]"


def gained(line: Any) -> str:
    """A line of `results.gains`: the difference with its limits, in whole points, and p."""
    return f"{line['gain']:+.0f} [{line['low']:+.0f}, {line['high']:+.0f}] p {line['p']:.2g}"


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
    """A line for each value of `down`, a column for each of `across`, as they first come."""
    check_places(lines, [down, across])
    texts = {(line[down], line[across]): cell(line) for _, line in lines.iterrows()}
    rows, columns = (list(dict.fromkeys(lines[name])) for name in (down, across))
    shown = {c: [texts.get((r, c), "") for r in rows] for c in columns}
    widths = {c: 2 + max(len(plain(c)), *map(len, shown[c])) for c in columns}
    first = 2 + max(len(down), *(len(plain(r)) for r in rows))
    out = [f"{down:<{first}}" + "".join(f"{plain(c):>{widths[c]}}" for c in columns)]
    for i, row in enumerate(rows):
        cells = "".join(f"{shown[c][i]:>{widths[c]}}" for c in columns)
        out.append(f"{plain(row):<{first}}{cells}")
    return "\n".join(out)
