"""What a command costs before it does anything: seconds of CPU, and as multiples of `import torch`.

Help and a wrong flag of every study, `python -m results`, and a small search that is stored whole.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from begin import words

SEARCH = (
    "jobs/qtable_search.py --eps-255 8 --patterns 3 --qs-af 51,116 --benign 100 --adversarial 50 "
    "--report-benign 100 --report-adversarial 50 --store"
)


def cpu_s(*words: str, code: int = 0) -> float:
    """User and system time of a Python process that ends as it should."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True, env=alone)
    assert done.returncode == code, done.stderr.decode()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure; the second run of each counts, when bytecode and files are in memory."""
    pages = sorted(str(path) for path in Path("jobs").glob("[a-z]*.py"))
    torch_s = min(cpu_s("-c", "import torch") for _ in range(2))
    slow, forgotten = 0, "the same, its answer forgotten"
    with tempfile.TemporaryDirectory() as store:
        search = [*SEARCH.split(), store]
        cpu_s(*search, "--here")
        for limit_s, what, words, code in (
            *((0.7, f"{page} --help", [page, "--help"], 0) for page in pages),
            *((0.7, f"{page} --wrong", [page, "--wrong"], 2) for page in pages),
            (0.7, "python -m search --help", ["-m", "search", "--help"], 0),
            (1.0, "python -m results", ["-m", "results", "--store", store], 0),
            (1.0, "a stored search again", search, 0),
            (2.0 * torch_s, forgotten, search, 0),
            (2.5 * torch_s, "the same, --figure", [*search, "--figure"], 0),
        ):
            times = []
            for _ in range(2):
                if what == forgotten:
                    shutil.rmtree(Path(store, "answered"))
                times.append(cpu_s(*words, code=code))
            found_s = min(times)
            slow += found_s > limit_s
            missed = "" if found_s <= limit_s else f"   above {limit_s:.1f} s"
            print(f"{found_s:6.2f} s {found_s / torch_s:5.2f}  {what}{missed}", flush=True)
    print(f"{torch_s:6.2f} s  1.00  import torch")
    return slow > 0


if __name__ == "__main__":
    words()
    raise SystemExit(main())
