"""A screened search against one in float32: the same answers, and what share of the time?

    python benchmarks/screened.py                     # small_resnet, digits and photographs
    python benchmarks/screened.py --force             # also where it is slow, for its answers
    python benchmarks/screened.py --model train:resnet18 --data photos --side 224 --epochs 4
    python benchmarks/screened.py --gpus 1 ...        # on a GPU

Other flags are those of the table search. Both searches score the same images under the same
tables; every class is compared, and so is each cell's time with the other search's for the same
pictures (medians: a worker's first cell loads the network). It fails where a class differs or where
what is chosen for this machine takes more of float32's time than LIMITS say.
"""

import argparse
import tempfile

import begin  # noqa: F401

import results
from jobs import qtable_search
from search import main as run
from search import screening
from search.cluster import provenance

CASES = (("--data", "digits", "--eps-255", "8"), ("--data", "photos"))
FEW = {"--benign": "240", "--adversarial": "60", "--patterns": "2-10/4", "--qs-af": "1-121/5",
       "--report-benign": "20", "--report-adversarial": "5"}  # fmt: skip
LIMITS = {"resnet18": 0.45, "resnet50": 0.50, "efficientnet_lite0": 0.75}  # on a CPU with bf16
GPU_LIMIT = 0.40  # of all three
MOST = 1.05  # of any network, anywhere


def limit_of(flags: tuple[str, ...], hardware: str) -> float:
    """What is claimed of this network here."""
    known = [limit for name, limit in LIMITS.items() if name in " ".join(flags)]
    if not known:
        return MOST
    return known[0] if hardware == provenance.hardware("cpu") else GPU_LIMIT


def compared(flags: tuple[str, ...], store: str) -> bool:
    """Search twice, and say how the two differ."""
    for precision in ("fp32", "screened"):
        few = [word for pair in FEW.items() if pair[0] not in flags for word in pair]
        argv = [*few, *flags, "--store", store, "--precision", precision]
        if run(qtable_search.JOB, argv):
            return False
    rows = results.load("qtable_search", store=store)
    rows = rows[rows["split"] == "search"]
    key = ["subject", "image", "table"]
    exact = rows[rows["precision"] == "fp32"].set_index(key)
    screened = rows[rows["precision"] != "fp32"].set_index(key)
    named = " ".join(flags)
    if screened.empty:
        print(f"ok   {named}: float32 is chosen here, so the ratio is 1", flush=True)
        return True
    beside = screened.reindex(exact.index)
    n_differ = int((exact["predicted"] != beside["predicted"]).sum())
    firsts = exact["cell_id"].drop_duplicates().index
    walls = [part.loc[firsts, "wall_s"].astype(float) for part in (beside, exact)]
    n_of_cell = exact.groupby("cell_id", observed=True).size().median()
    rates = [n_of_cell / wall.median() for wall in walls]
    ratio, how = (walls[0] / walls[1]).median(), screened["decided"].value_counts(normalize=True)
    shares = ", ".join(f"{100 * how.get(name, 0):.2f} % {name}" for name in how.index)
    (kind,), hardware = set(screened["precision"]), str(exact["hardware"].iloc[0])
    limit = limit_of(flags, hardware)
    good = not n_differ and ratio <= limit
    print(
        f"{'ok  ' if good else 'MISS'} {named}: {kind} / float32 {ratio:.3f} (<= {limit:g}); "
        f"{n_differ} of {len(exact)} classes differ; {shares}; a worker classifies {rates[0]:.0f} "
        f"and {rates[1]:.0f} image-table pairs a second; {hardware}",
        flush=True,
    )
    return good


def main() -> int:
    """Every case, or the one that the flags name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--force", action="store_true", help="screen whatever it costs")
    parser.add_argument("--store", help="where both searches go on; a folder of its own otherwise")
    given, words = parser.parse_known_args()
    if given.force:
        screening.FASTER = float("inf")
    named = not {"--data", "--model"}.isdisjoint(words)
    good = True
    for flags in [()] if named else CASES:
        with tempfile.TemporaryDirectory() as folder:
            good &= compared((*flags, *words), given.store or folder)
    return not good


if __name__ == "__main__":
    raise SystemExit(main())
