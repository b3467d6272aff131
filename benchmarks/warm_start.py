"""The second search on the same data starts sweeping at once: nothing is trained or attacked again.

Measured from the return of `ray.init` to the first table cell handed out, in a process of its own.
"""

import subprocess
import sys
import time

from begin import words
from common import claim, prepare

from search.tables.plan import SEARCH

FLAGS = ["--data", "digits", "--eps-255", "4"]


def second() -> None:
    """The second search, in a fresh process; prints seconds."""
    bench = prepare(*FLAGS)
    question = bench.again(patterns=(14,), qs_af=(200 + time.time_ns() % 50,))
    plan, _ = question.plan()
    bench.engine.sweep(SEARCH, plan, f"bench-{time.time_ns()}", label="sweep")
    assert set(bench.engine.first_cell_at) == {"qtable_search"}, "something was prepared again"
    print(bench.engine.first_cell_at["qtable_search"] - bench.engine.ready_at)
    bench.engine.stop()


def main() -> int:
    """Fill the bank, then measure."""
    prepare(*FLAGS).engine.stop()
    done = subprocess.run(
        [sys.executable, __file__, "second"], capture_output=True, text=True, check=True
    )
    return not claim("seconds from ray.init to the first table cell", float(done.stdout), 3.0)


if __name__ == "__main__":
    raise SystemExit(second() if words("second") else main())
