"""A screened search against one in float32: the same answers, and what share of the time?

    python benchmarks/screened.py                     # small_resnet, digits and photographs
    python benchmarks/screened.py --force             # also where bf16 is slow, for its answers
    python benchmarks/screened.py --model train:resnet18 --data photos --side 224 --epochs 2

Other flags are those of the table search. Both searches score the same images under the same
tables; every class is compared. It fails where one differs, or where what is chosen for this
machine takes more than 1.05 of float32's time.
"""

import sys
import tempfile

import results
from jobs import qtable_search
from search import main as run
from search import screening

CASES = (
    ("--data", "digits", "--eps-255", "8", "--benign", "200", "--adversarial", "60"),
    ("--data", "photos", "--benign", "200", "--adversarial", "60"),
)
FEW = ("--patterns", "2-10/4", "--qs-af", "1-121/5", "--report-benign", "20",
       "--report-adversarial", "5")  # fmt: skip
MOST = 1.05


def compared(flags: tuple[str, ...]) -> bool:
    """Search twice, and say how the two differ."""
    with tempfile.TemporaryDirectory() as store:
        for precision in ("fp32", "screened"):
            argv = [*flags, *FEW, "--store", store, "--precision", precision]
            if run(qtable_search.JOB, argv):
                return False
        rows = results.load("qtable_search", store=store)
    key = ["subject", "image", "table"]
    exact = rows[rows["precision"] == "fp32"].set_index(key)
    screened = rows[rows["precision"] != "fp32"].set_index(key)
    if screened.empty:
        print(f"ok   {' '.join(flags)}: float32 is chosen here, so the ratio is 1")
        return True
    n_differ = int((exact["predicted"] != screened["predicted"].reindex(exact.index)).sum())
    seconds = [part.drop_duplicates("cell_id")["wall_s"].sum() for part in (screened, exact)]
    ratio, how = seconds[0] / seconds[1], screened["decided"].value_counts(normalize=True)
    shares = ", ".join(f"{100 * how.get(name, 0):.2f} % {name}" for name in how.index)
    good = not n_differ and ratio <= MOST
    print(f"{'ok  ' if good else 'MISS'} {' '.join(flags)}: screened / float32 {ratio:.2f} "
          f"(<= {MOST:g}); {n_differ} of {len(exact)} classes differ; {shares}")  # fmt: skip
    return good


def main() -> int:
    """Every case, or the one that the flags name."""
    words = sys.argv[1:]
    if "--force" in words:
        words.remove("--force")
        screening.FASTER = float("inf")
    cases = [tuple(words)] if words else CASES
    return 0 if all(map(compared, cases)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
