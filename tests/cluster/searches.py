"""A small table search whose cells take about a second, here and on a cluster, and its rows."""

import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from clusters import Cluster, wait_for
from hosts import ROOT

import results
from results import schema
from results.files import Root

SEARCH = (
    "--epochs", "3", "--patterns", "1-6", "--block", "33", "--benign", "200",
    "--adversarial", "60", "--report-benign", "80", "--report-adversarial", "30",
    "--eps-255", "16",
)  # fmt: skip
PREPARED = ("classifier", "benign", "adversarial")
STUDIES = (*PREPARED, "qtable_search", "qtable_report")
# One CPU, as each host has: a network trained by more threads has other last digits.
_HERE = (
    "import ray, sys; ray.init(num_cpus=1, include_dashboard=False)\n"
    "from jobs.qtable_search import JOB; from search import main\n"
    "raise SystemExit(main(JOB, sys.argv[1:]))\n"
)


@contextlib.contextmanager
def run_here(folder: Path) -> Iterator[Callable[[], Path]]:
    """Start the search on this machine, on a Ray of its own; call the result for its store."""
    (folder / "home").mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", _HERE, *SEARCH, "--store", str(folder / "store")],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def store() -> Path:
            if process.returncode is None:
                _, said = process.communicate(timeout=900)
                assert process.returncode == 0, said
            return folder / "store"

        try:
            yield store
        finally:
            process.kill()


def rows_of(store: Path | str) -> dict[str, pd.DataFrame]:
    """All rows but what is measured anew in each run, in a fixed order."""
    frames = {}
    for study in STUDIES:
        rows = results.load(study, store=store).drop(columns=list(schema.MEASURED))
        rows = rows.astype({name: str for name in rows.columns if rows[name].dtype == "category"})
        frames[study] = rows.sort_values(list(rows.columns)).reset_index(drop=True)
    return frames


def assert_same_rows(store: Path | str, expected: Path | str) -> None:
    """Every row of every study is there once, and equal."""
    found = rows_of(store)
    for study, rows in rows_of(expected).items():
        pd.testing.assert_frame_equal(found[study], rows)


def hosts_of(store: Path | str, study: str = "qtable_search") -> dict[str, int]:
    """Rows by the host that computed them."""
    rows = results.load(study, store=store)
    return rows.groupby("host", observed=True).size().to_dict()


def n_cells(store: Path | str, study: str = "qtable_search") -> int:
    """How many cells of the search are stored."""
    root = Root(store)
    folder = f"rows/study={study}"
    return sum(len(root.sizes(f"{folder}/{sweep}")) for sweep in root.folders(folder))


def copy_prepared(source: Path, store: Path | str) -> None:
    """Classifier, images and examples of another store, so that a search starts with its cells."""
    root = Root(store)
    folders = [source / "bank", *(source / f"rows/study={study}" for study in PREPARED)]
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        root.write(str(path.relative_to(source)), path.read_bytes())


@dataclass
class Struck:
    """How a search went on after a fault, in seconds from it."""

    first_cell_s: float  # until a cell was stored again
    largest_gap_s: float  # the longest time without a stored cell from the fault to the last cell
    end_s: float

    def __str__(self) -> str:
        return (
            f"first cell after {self.first_cell_s:.1f} s, largest gap {self.largest_gap_s:.1f} s, "
            f"ended after {self.end_s:.1f} s"
        )


def struck(
    cluster: Cluster, store: Path | str, strike: Callable[[], object],
    *, after_cells: int = 6, again: bool = False, more: Sequence[str] = (),
) -> Struck:  # fmt: skip
    """Submit the search, strike when so many cells are stored, see it to its end.

    `again`: the driver dies of the fault; the same command is submitted once more.
    """
    arguments = (*SEARCH, "--store", str(store), *more)
    command = ("submit", str(cluster.file), "jobs/qtable_search.py", *arguments)
    with _started(cluster, command) as (first, said):
        wait_for(
            lambda: n_cells(store) >= after_cells or first.poll() is not None,
            "no cells are stored", timeout_s=600,
        )  # fmt: skip
        assert first.poll() is None, said()
        fault_at = time.monotonic()
        strike()
        times = [fault_at]
        if not again:
            _watch(first, said, store, times)
    if again:
        with _started(cluster, command) as (second, said):
            _watch(second, said, store, times)
    gaps = [late - early for early, late in itertools.pairwise(times)]
    return Struck(times[1] - fault_at, max(gaps), time.monotonic() - fault_at)


@contextlib.contextmanager
def _started(
    cluster: Cluster, command: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """The process, and what it has said so far."""
    with tempfile.TemporaryFile("w+") as file, cluster.popen(file, *command) as process:

        def said() -> str:
            file.seek(0)
            return file.read()

        try:
            yield process, said
        finally:
            process.kill()


def _watch(
    process: subprocess.Popen[str], said: Callable[[], str], store: Path | str, times: list[float]
) -> None:
    """Note when cells are stored, until the search ends; it must end well."""
    seen = n_cells(store)
    while process.poll() is None:
        now = n_cells(store)
        if now > seen:
            seen = now
            times.append(time.monotonic())
        time.sleep(0.1)
    assert process.returncode == 0, said()
