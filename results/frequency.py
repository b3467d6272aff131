"""Which frequencies carry the image and which the distortion: rows to deviations."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_SUMS = ["n_blocks", "benign", "benign_squares", "distortion", "distortion_squares"]

Map = NDArray[np.float64]


def deviations(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per split, channel, u and v: delta_b, delta_a (in levels), their ratio, u + v.

    delta_b is the standard deviation of the coefficient over all blocks of benign images, delta_a
    that of the distortion. The ratio is NaN where a coefficient never varies in benign images.

    Source: "defensive quantization table" paper, section 3.2.
    """
    once = rows.drop_duplicates(["cell_id", "channel", "u", "v"])  # two drivers may measure twice
    lines = once.groupby(["split", "channel", "u", "v"], sort=False)[_SUMS].sum().reset_index()
    for what, name in (("benign", "delta_b"), ("distortion", "delta_a")):
        mean = lines[what] / lines["n_blocks"]
        variance = lines[f"{what}_squares"] / lines["n_blocks"] - mean**2
        lines[name] = np.sqrt(variance.clip(lower=0).astype("float64"))
    lines["ratio"] = lines["delta_a"] / lines["delta_b"].where(lines["delta_b"] > 0)
    lines["diagonal"] = lines["u"] + lines["v"]
    return lines.drop(columns=_SUMS[1:])


def rank_correlation(lines: pd.DataFrame, first: str, second: str) -> float:
    """Spearman's between two columns of some lines; NaN where one of them never varies."""
    return float(lines[[first, second]].corr(method="spearman").to_numpy()[0, 1])


def ratio_map(lines: pd.DataFrame, split: str, channel: str) -> Map:
    """delta_a / delta_b as [u, v]."""
    chosen = lines[(lines["split"] == split) & (lines["channel"] == channel)]
    square = chosen.pivot_table(index="u", columns="v", values="ratio", dropna=False)
    return square.to_numpy(dtype=np.float64)


def answer_text(lines: pd.DataFrame) -> str:
    """One line per channel: how wide the ratio spans, and how it is ordered."""
    out = ["channel   delta_b   delta_a   ratio, least..most   with u + v   with held out"]
    for channel in lines["channel"].unique():
        own = lines[lines["channel"] == channel]
        found = own[own["split"] == "search"].set_index(["u", "v"])
        held_out = own[own["split"] == "report"].set_index(["u", "v"])
        both = found[["ratio"]].join(held_out["ratio"].rename("held_out"))
        out.append(
            f"{channel:<7} {_root_mean(found['delta_b']):9.2f} {_root_mean(found['delta_a']):9.2f}"
            f" {found['ratio'].min():12.4f}..{found['ratio'].max():<8.4f}"
            f" {rank_correlation(found, 'ratio', 'diagonal'):8.2f}"
            f" {rank_correlation(both, 'ratio', 'held_out'):15.2f}"
        )
    return "\n".join(out)


def verdict(lines: pd.DataFrame) -> str:
    """How the ratio is ordered by frequency, channel by channel."""
    own = lines[lines["split"] == "report"]
    order = [
        f"{channel} {rank_correlation(own[own['channel'] == channel], 'ratio', 'diagonal'):+.2f}"
        for channel in own["channel"].unique()
    ]
    return (
        "distortion over image, its rank correlation with the frequency u + v, held out: "
        f"{', '.join(order)}"
    )


def _root_mean(deviation: "pd.Series[float]") -> float:
    """One deviation for all 64 coefficients, in levels: that of a pixel value."""
    return float(np.sqrt((deviation**2).mean()))
