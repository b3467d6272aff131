"""Best-first names the exhaustive winner with at most a quarter of the exhaustive forwards.

    python benchmarks/best_first.py                   # digits and photographs, eps 2, 4 and 8 / 255
    python benchmarks/best_first.py digits
    python benchmarks/best_first.py --data imagefolder:PATH --model checkpoint:PATH ...

The last is any search by the table search's own flags, and a fifth is claimed (at 224 px all of it
takes hours). Forwards are counted at the network, so identical pictures count once in both; those
that put the images in order are best-first's. Digits: all 600 search images; photos-32: 1000; 200
adversarial examples by FGSM.
"""

import sys

from begin import words
from common import claim, count_forwards, plain_loop, prepare

from search.tables.plan import SEARCH


def compared(name: str, flags: tuple[str, ...], limit: float) -> bool:
    """Exhaustive and best-first in one process, on the same data."""
    bench = prepare(*flags)
    questions = {each: bench.again(strategy=each) for each in ("exhaustive", "best-first")}
    bench.engine.stop()
    found = {}
    for strategy, question in questions.items():
        plan, tally = question.plan()
        forwards = count_forwards(bench.network())
        wall_s = plain_loop(SEARCH, plan, bench.engine.store)
        leader = tally.leader()
        n_forwards = forwards() + sum(len(piece.images) for piece in question.in_order)
        found[strategy] = (leader and leader.name, n_forwards, wall_s)
    (winner, n_all, all_s), (same, n_few, few_s) = found.values()
    print(
        f"{name}: exhaustive {winner}, {n_all} forwards of {bench.n_pairs()} pairs, {all_s:.0f} s; "
        f"best-first {same}, {n_few} forwards, {few_s:.0f} s",
        flush=True,
    )
    holds = claim(f"{name}: best-first / exhaustive", n_few / n_all, limit)
    return holds and winner == same


def main() -> int:
    """Every search, those of the data that are named, or the one that flags say."""
    flags, holds = sys.argv[1:], True
    if any(word.startswith("-") and word not in {"-h", "--help"} for word in flags):
        return not compared(" ".join(flags), tuple(flags), 0.20)
    for data in words("digits", "photos") or ("digits", "photos"):
        for eps in ("2", "4", "8"):
            asked = ("--data", data, "--eps-255", eps)
            holds &= compared(f"{data} eps {eps}", asked, 0.25)
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
