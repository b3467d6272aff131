"""Kill the table search with -9 at random moments until it ends; compare with a quiet run.

    python tests/soak/kills.py --kills 200

Each campaign runs one small search in a store of its own, kills its driver at random moments
(in preparation, in the sweep, while answering), and goes on until it is done. The rows must then
equal those of the undisturbed run, row for row.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import results
from results import schema

ROOT = Path(__file__).resolve().parents[2]
SEARCH = [
    sys.executable, str(ROOT / "jobs/qtable_search.py"), "--epochs", "2", "--patterns", "1-7",
    "--qs-af", "1-121/20", "--block", "12", "--benign", "200", "--adversarial", "60",
    "--report-benign", "80", "--report-adversarial", "40", "--eps-255", "16",
]  # fmt: skip
STUDIES = ("classifier", "benign", "adversarial", "qtable_search", "qtable_report")


def rows_of(store: Path) -> dict[str, pd.DataFrame]:
    """All rows but what is measured anew in each run, in a fixed order."""
    frames = {}
    for study in STUDIES:
        rows = results.load(study, store=store).drop(columns=list(schema.MEASURED))
        rows = rows.astype({name: str for name in rows.columns if rows[name].dtype == "category"})
        frames[study] = rows.sort_values(list(rows.columns)).reset_index(drop=True)
    return frames


def run(store: Path, kill_after_s: float | None) -> bool:
    """One start of the search; whether it ended by itself."""
    command = [*SEARCH, "--store", str(store)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        try:
            output, _ = driver.communicate(timeout=kill_after_s)
        except subprocess.TimeoutExpired:
            driver.kill()
            return False
    if driver.returncode:
        raise SystemExit(f"the search failed with exit code {driver.returncode}:\n{output}")
    return True


def main() -> int:
    """Campaigns until so many kills were survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    n_kills = n_campaigns = 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run(Path(folder) / "quiet", None)
        quiet_s, expected = time.monotonic() - start, rows_of(Path(folder) / "quiet")
        print(f"undisturbed: {quiet_s:.0f} s, {len(expected['qtable_search'])} rows", flush=True)
        while n_kills < options.kills:
            store = Path(folder) / f"campaign-{n_campaigns}"
            # Later starts find more done: a kill must come early to hit them at work.
            while n_kills < options.kills and not run(store, chance.uniform(0.15, 0.95) * quiet_s):
                n_kills += 1
            run(store, None)
            for study, rows in rows_of(store).items():
                pd.testing.assert_frame_equal(rows, expected[study])
            n_campaigns += 1
            print(f"{n_kills} kills in {n_campaigns} campaigns, all rows equal", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
