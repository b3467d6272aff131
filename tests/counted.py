"""Rows of tables whose right and broken images are counted out."""

import pandas as pd

BENIGN, ADVERSARIAL = "benign", "adversarial"


def named(k, qs_af):
    return (f"k{k}-of16-af{qs_af}", k, 16, qs_af)


def frame(records, *, categorical=True):
    """records: (subject, image, label, undefended, predicted, (table, pattern, qs_of, qs_af))."""
    rows = pd.DataFrame(
        [(s, i, y, u, p, *table) for s, i, y, u, p, table in records],
        columns=["subject", "image", "label", "undefended", "predicted",
                 "table", "pattern", "qs_of", "qs_af"],
    )  # fmt: skip
    rows = rows.astype(dict.fromkeys(["label", "undefended", "predicted"], "int32"))
    rows = rows.astype(dict.fromkeys(["pattern", "qs_of", "qs_af"], "Int32"))
    return rows.astype(dict.fromkeys(["subject", "table"], "category")) if categorical else rows


def counted(table, *, lost=0, n_benign=1000, kept=5, n_adv=10):
    """A table that breaks `lost` benign images and gets the first `kept` adversarial ones right."""
    benign = [(BENIGN, i, 1, 1, 0 if i < lost else 1, table) for i in range(n_benign)]
    return benign + [(ADVERSARIAL, i, 1, 0, int(i < kept), table) for i in range(n_adv)]


def surface(*asked, **sizes):
    """One `counted` table per (k, qs_af, lost, kept)."""
    return frame([row for k, qs_af, lost, kept in asked
                  for row in counted(named(k, qs_af), lost=lost, kept=kept, **sizes)])  # fmt: skip
