"""Tables as compressions: bits per pixel beside what they defend, and JPEG's qualities."""

import numpy as np
import pandas as pd

from results.tables.flat import best_flat
from results.tables.surface import feasible, measure

N_SHOWN = 8  # tables of the front in the answer; its frame holds all


def priced(lines: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Lines of `results.summary` with bits per pixel and of how many images that is the mean.

    `rows` are those of the study rate_distortion, of each table.
    """
    bpp = rows["bits"].astype(float) / rows["side"].astype(float) ** 2
    means = bpp.groupby(rows["codec"].astype(str)).agg(["mean", "size"])
    own = means.reindex(lines["table"].astype(str))
    return lines.assign(bpp=own["mean"].to_numpy(), n_bpp=own["size"].to_numpy())


def rate_front(lines: pd.DataFrame, *, max_decline_points: float) -> pd.DataFrame:
    """The feasible searched tables that no other beats in both Def and bits, by rising bits.

    `lines` of `priced`. Of tables alike in both the first stands for all.
    """
    allowed = feasible(lines, max_decline_points=max_decline_points) & lines["pattern"].notna()
    rising = lines[allowed].sort_values(
        ["bpp", "n_adv_right"], ascending=[True, False], kind="stable"
    )
    before = rising["n_adv_right"].cummax().shift(fill_value=-1)
    return rising[rising["n_adv_right"] > before].reset_index(drop=True)


def rate_text(
    lines: pd.DataFrame,
    front: pd.DataFrame,
    winner: str | None,
    flat: str | None,
    max_decline_points: float,
) -> list[str]:
    """The winner, the best references under the same limit, the front; lines of `priced`."""
    jpeg, own = jpeg_of(lines), front
    n, n_tables = len(front), lines["pattern"].notna().sum()
    if n > N_SHOWN:
        own = front.iloc[np.linspace(0, n - 1, N_SHOWN).round().astype(int)]
    many = f"{N_SHOWN} of the {n}" if n > N_SHOWN else f"{n or 'none'}"
    best = best_flat(jpeg, max_decline_points=max_decline_points)
    references = lines.set_index("table", drop=False)
    references = references.loc[[n for n in (winner, flat, best) if n is not None]]
    width = max(map(len, [*own["table"], *references["table"], "table"]))
    return [
        "",
        f"bits per pixel: JPEG's scan, mean of {jpeg['n_bpp'].iloc[0]} benign images of the search",
        f"  {'table':<{width}}{'bpp':>7}{'Acc_dec, points':>21}{'Def %':>21}",
        *_body(references, width),
        f"front: {many} of {n_tables} tables that no other feasible one beats in Def and bpp",
        *_body(own, width),
        f"{sampling_of(jpeg):<12}" + "".join(f"{quality:>6}" for quality in jpeg["quality"]),
        f"{'  bpp':<12}" + "".join(f"{bpp:>6.2f}" for bpp in jpeg["bpp"]),
    ]


def _body(lines: pd.DataFrame, width: int) -> list[str]:
    return [
        f"  {line['table']:<{width}}{line['bpp']:>7.3f}"
        f"{measure(line, 'acc_dec'):>21}{measure(line, 'def_all'):>21}"
        for _, line in lines.iterrows()
    ]


def jpeg_of(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of JPEG by rising quality, which is column `quality`."""
    own = lines[lines["table"].str.startswith("jpeg")]
    quality = own["table"].str.extract(r"(\d+)", expand=False).astype(int)
    return own.assign(quality=quality).sort_values("quality")


def sampling_of(jpeg: pd.DataFrame) -> str:
    """What the lines of JPEG are called; its usual sampling is not said."""
    return "JPEG 4:4:4" if jpeg["table"].iloc[0].endswith("-444") else "JPEG"
