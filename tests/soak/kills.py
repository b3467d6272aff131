"""Kill the table search with -9 at random moments until it ends; compare with a quiet run.

    python tests/soak/kills.py --kills 200

Each campaign runs one small search in a store of its own and kills at random moments (in
preparation, in the sweep, while answering) its driver, one of its workers, its raylet, its GCS or
one of the raylet's agents, until it is done. The rows must then equal those of the undisturbed run,
row for row. A lost worker costs no start, unless one cell loses six; what ends for want of any must
say so in one error, without a traceback, and within `PATIENCE_S`.
"""

import argparse
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import results
from results import schema

ROOT = Path(__file__).resolve().parents[2]
SEARCH = [
    sys.executable, str(ROOT / "jobs/qtable_search.py"), "--epochs", "2", "--patterns", "1-3",
    "--qs-af", "1-121/40", "--block", "10", "--benign", "120", "--adversarial", "20",
    "--report-benign", "60", "--report-adversarial", "10", "--eps-255", "16",
]  # fmt: skip
VICTIMS = {
    "driver": r"^$", "worker": r"^ray::(IDLE|run_cells)", "raylet": r"raylet/raylet",
    "gcs": r"gcs/gcs_server", "agent": r"^ray::\w*Agent",  # without which the raylet ends
}  # fmt: skip
# Of a driver that lost its raylet or GCS, beyond a quiet run: Ray waits, and where it was starting,
# it is started once again. It waits for 60 s unless told; here for 10, for more kills an hour.
PATIENCE_S = 180.0
ENVIRONMENT = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
RETRIES = 5  # of a cell whose worker was lost (search/engine/run.py); it may be the same each time
STUDIES = ("classifier", "benign", "adversarial", "qtable_search", "qtable_report")


def rows_of(store: Path) -> dict[str, pd.DataFrame]:
    """All rows but what is measured anew in each run, in a fixed order."""
    frames = {}
    for study in STUDIES:
        rows = results.load(study, store=store).drop(columns=list(schema.MEASURED))
        rows = rows.astype({name: str for name in rows.columns if rows[name].dtype == "category"})
        frames[study] = rows.sort_values(list(rows.columns)).reset_index(drop=True)
    return frames


def children(pid: int) -> dict[int, str]:
    """All processes below one, each with its command line."""
    parents, lines = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # ended meanwhile
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return {child: lines.get(child, "") for child in below - {pid}}


def kill(driver: "subprocess.Popen[str]", victim: str) -> bool:
    """Whether there was such a process to kill."""
    if victim == "driver":
        driver.kill()
        return True
    found = [pid for pid, line in children(driver.pid).items() if re.search(VICTIMS[victim], line)]
    if found:
        os.kill(max(found), signal.SIGKILL)
    return bool(found)


def run(
    store: Path, waits_s: Iterator[float], victim: str = "driver", longest_s: float = 3600
) -> tuple[bool, int]:
    """One start of the search: whether it ended by itself as it should, and how often it was hit.

    Workers are lost one after the other, as long as it runs; of all else there is one.
    """
    hits = 0
    with subprocess.Popen(
        [*SEARCH, "--store", str(store)],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as driver:  # fmt: skip
        while True:
            last = hits and victim != "worker"
            wait_s = longest_s if last else next(waits_s, longest_s)
            try:
                output, _ = driver.communicate(timeout=wait_s)
                break
            except subprocess.TimeoutExpired:
                if wait_s == longest_s:
                    driver.kill()
                    raise SystemExit(f"{victim} killed: no end after {longest_s:.0f} s") from None
                hits += kill(driver, victim)
    allowed = {0}
    if hits and victim != "worker":
        allowed = {"driver": {0, -9}}.get(victim, {0, 1, 2})
    elif hits > RETRIES:
        allowed = {0, 1}
    if driver.returncode not in allowed or "Traceback" in output:
        raise SystemExit(f"{victim} killed: exit code {driver.returncode}:\n{output}")
    return driver.returncode == 0, hits


def main() -> int:
    """Campaigns until so many kills were survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, hits = random.Random(options.seed), Counter[str]()
    n_campaigns = 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run(Path(folder) / "quiet", iter(()))
        quiet_s, expected = time.monotonic() - start, rows_of(Path(folder) / "quiet")
        within_s = quiet_s
        print(f"undisturbed: {quiet_s:.0f} s, {len(expected['qtable_search'])} rows", flush=True)
        while hits.total() < options.kills:
            store, done = Path(folder) / f"campaign-{n_campaigns}", False
            while hits.total() < options.kills and not done:
                # Later starts find more done: a kill must come early to hit them at work.
                victim = chance.choice([*VICTIMS])
                waits_s = (chance.uniform(0.15, 0.95) * within_s for _ in itertools.count())
                start = time.monotonic()
                done, n_hits = run(store, waits_s, victim, quiet_s + PATIENCE_S)
                hits[victim] += n_hits
                if not n_hits:  # the machine is quicker now than when it was measured
                    within_s = min(within_s, time.monotonic() - start)
            run(store, iter(()))
            for study, rows in rows_of(store).items():
                pd.testing.assert_frame_equal(rows, expected[study])
            n_campaigns += 1
            said = ", ".join(f"{n} {victim}" for victim, n in sorted(hits.items()))
            print(f"{said} killed in {n_campaigns} campaigns, all rows equal", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
