"""Kill tuning with -9 at random moments until it ends; compare with a quiet study.

    python tests/soak/tuning_kills.py --kills 200

A campaign is one study, in a journal, an SQLite file or a real PostgreSQL server, whose driver is
killed at random records, halfway through a record, in training, or by the clock. It must end with
every orphan retried exactly once, no setting finished twice, no chain trained twice and, in strict
order, trial for trial as the quiet study. At last the real job is killed twice.
"""

import argparse
import contextlib
import itertools
import random
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

import postgres  # noqa: E402
import psycopg  # noqa: E402
import tuners  # noqa: E402

import results  # noqa: E402
from results import schema  # noqa: E402

N_TRIALS = 8
KILLS = {"journal": ("written", "torn", "work", "seconds"), "sqlite": ("statement", "work"),
         "postgresql": ("statement", "work", "seconds")}  # fmt: skip
FURTHEST = {"written": 30, "torn": 30, "work": 4, "statement": 160, "seconds": 600}  # in ms
JOB = [
    sys.executable, str(HERE.parents[1] / "jobs/ensemble_tune.py"), "--until", "3",
    "--reproducible", "--epochs", "2", "--benign", "60", "--adversarial", "20",
    "--report-benign", "60", "--report-adversarial", "20", "--sigma-255", "0-32/16",
    "--xi-percent", "90", "--qs-af", "116", "--white",
]  # fmt: skip


@contextlib.contextmanager
def urls(folder: Path) -> Iterator[dict[str, object]]:
    """For each kind of storage, the address of the campaign of that number."""
    kinds: dict[str, object] = {
        "journal": lambda _: None,
        "sqlite": lambda number: f"sqlite:///{folder}/{number}.db",
    }
    if postgres.binaries() is None:
        print("no PostgreSQL server is installed: left out", flush=True)
        yield kinds
        return
    with postgres.server() as address:
        base = f"postgresql://postgres:{urllib.parse.quote_plus(postgres.PASSWORD)}@{address}"

        def made(number: int) -> str:
            with psycopg.connect(f"{base}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE campaign{number}")
            return f"{base}/campaign{number}"

        yield kinds | {"postgresql": made}


def check(trials: list[dict], expected: list) -> None:
    """Nothing lost, nothing doubled, and the same as ever."""
    orphans = [t["number"] for t in trials if t["state"] == "FAIL"]
    retried = [t["user_attrs"]["retry_of"] for t in trials if "retry_of" in t["user_attrs"]]
    assert sorted(retried) == orphans, (orphans, retried)
    assert {t["state"] for t in trials} <= {"COMPLETE", "FAIL"}
    assert tuners.outcomes(trials) == expected


def campaign(
    server: tuners.Server, folder: Path, kind: str, url: str | None, chance: random.Random
) -> tuple[int, list[dict]]:
    """One study to its end: kills survived, and its trials."""
    n_kills = 0
    while True:
        what = chance.choice(KILLS[kind])
        kill = (what, chance.randint(1, FURTHEST[what]))
        trials = server.drive(folder, kill, url=url, until=N_TRIALS)
        if trials is not None:
            return n_kills, trials
        n_kills += 1


def rows_of(store: Path) -> pd.DataFrame:
    """The real job's rows but what is measured anew in each run, in a fixed order."""
    rows = results.load("ensemble_tune", store=store).drop(columns=list(schema.MEASURED))
    rows = rows.astype({n: str for n in rows.columns if rows[n].dtype == "category"})
    return rows.sort_values(["chain", "subset"]).reset_index(drop=True)


def run_job(store: Path, kill_after_s: float | None) -> bool:
    """One start of the real job; whether it ended by itself."""
    with subprocess.Popen(
        [*JOB, "--store", str(store)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as driver:
        try:
            output, _ = driver.communicate(timeout=kill_after_s)
        except subprocess.TimeoutExpired:
            driver.kill()
            return False
    if driver.returncode:
        raise SystemExit(f"the job failed with exit code {driver.returncode}:\n{output}")
    return True


def real_job(folder: Path, chance: random.Random) -> None:
    """The real job, killed twice, ends with the rows of a quiet run and no member trained twice."""
    start = time.monotonic()
    run_job(folder / "quiet", None)
    quiet_s = time.monotonic() - start
    for _ in range(2):
        run_job(folder / "killed", chance.uniform(0.2, 0.7) * quiet_s)
    run_job(folder / "killed", None)
    pd.testing.assert_frame_equal(rows_of(folder / "killed"), rows_of(folder / "quiet"))
    chains = results.load("chain", store=folder / "killed")
    assert not chains.duplicated(["cell_id", "member", "epoch"]).any()
    print("the real job: two kills, all rows equal", flush=True)


def main() -> int:
    """Campaigns until so many kills were survived, then the real job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-job", action="store_true", help="leave the real job out")
    options = parser.parse_args()
    chance, n_kills = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as name, urls(Path(name)) as kinds:
        folder, server = Path(name), tuners.Server()
        quiet = tuners.drive(folder / "quiet", until=N_TRIALS)
        for number, (kind, url) in enumerate(itertools.cycle(kinds.items())):
            if n_kills >= options.kills:
                break
            own = folder / f"campaign-{number}"
            survived, trials = campaign(server, own, kind, url(number), chance)
            check(trials, tuners.outcomes(quiet))
            n_kills += survived
            print(f"{n_kills} kills in {number + 1} campaigns ({kind}), all equal", flush=True)
        server.close()
        if not options.no_job:
            real_job(folder, chance)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
