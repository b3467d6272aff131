"""One step for all 64 coefficients beside the searched tables: what does a partition gain?"""

import pandas as pd

from results.tables.surface import feasible, measure


def best_flat(lines: pd.DataFrame, *, max_decline_points: float) -> str | None:
    """The flat table that a search would have chosen, by the same rule; None where none keeps it.

    `lines` of `results.summary`, of flat tables alone.
    """
    allowed = lines[feasible(lines, max_decline_points=max_decline_points)]
    if allowed.empty:
        return None
    best = allowed.sort_values(["n_adv_right", "acc_dec"], ascending=[False, True])
    return str(best["table"].iloc[0])


def flat_text(lines: pd.DataFrame, *, max_decline_points: float) -> str:
    """The best of the flat tables in a line of the answer."""
    head = f"  {'flat step':<17}"
    name = best_flat(lines, max_decline_points=max_decline_points)
    if name is None:
        return f"{head}none of {len(lines)} flat tables keeps Acc_dec < {max_decline_points:g}"
    line = lines[lines["table"] == name].iloc[0]
    costs = f"Acc_dec {measure(line, 'acc_dec')}, Def {measure(line, 'def_all')} %"
    return f"{head}{name}, best of {len(lines)}: {costs}"
