"""The rows of a table search in pandas: Def, Acc_dec, and two tables on the same images.

    python examples/rows_in_pandas.py SWEEP TABLE OTHER    # as `python -m results` names them

The same in DuckDB, straight from the files:

    SELECT "table", 100 * avg((predicted = label)::int) AS def
    FROM 'results/out/rows/study=qtable_search/*/*.parquet'
    WHERE subject = 'adversarial' GROUP BY "table" ORDER BY def DESC;

and in polars:

    pl.scan_parquet("results/out/rows/study=qtable_search/*/*.parquet")
      .filter(pl.col("subject") == "adversarial").group_by("table")
      .agg((100 * (pl.col("predicted") == pl.col("label")).mean()).alias("def")).collect()
"""

import sys
from pathlib import Path

import pandas as pd

from qtable_sweeps import default_store, mcnemar

if len(sys.argv) != 4:
    sys.exit(__doc__)
sweep, table, other = sys.argv[1:]
rows = pd.read_parquet(Path(default_store()) / "rows/study=qtable_search" / f"sweep={sweep}")

rows["right"] = rows["predicted"] == rows["label"]
rows["was_right"] = rows["undefended"] == rows["label"]
shares = 100 * rows.groupby(["table", "subject"], observed=True)[["right", "was_right"]].mean()
benign, attacked = (shares.xs(subject, level="subject") for subject in ("benign", "adversarial"))
print(pd.DataFrame({"Def": attacked.right, "Acc_dec": benign.was_right - benign.right}).round(1))

pairs = rows[rows.subject == "adversarial"].pivot_table("right", "image", "table")
won, lost = ((pairs[a] > pairs[b]).sum() for a, b in ((table, other), (other, table)))
print(f"{table} over {other}: {won} images won, {lost} lost, McNemar p {mcnemar(won, lost):.2g}")
