"""How a screened search found its classes, in words."""

from results.counts import Rows
from results.stats import wilson


def screened_text(rows: Rows) -> list[str]:
    """What low precision decided, and what the audit of it found; nothing of other searches.

    The upper limit is of 95 %, of different pictures: of equal ones one alone is audited. Rows
    with a miss are no answer: their search is done again.
    """
    if "decided" not in rows or rows["decided"].isna().all():
        return []
    n = rows["decided"].value_counts()
    n_audited = int(n.get("audited", 0))
    confirmed = 100 * float(n.get("confirmed", 0)) / len(rows)
    most = 100 * float(wilson(0, n_audited, level=0.90)[1])
    audit = f"of {n_audited} audited 0 differ (< {most:.2g} %)"
    return [f"  screened         {confirmed:.1f} % in fp32; {audit}"]
