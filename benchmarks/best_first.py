"""Best-first names the exhaustive winner with at most a quarter of the exhaustive forwards.

Forwards are counted at the network, so identical pictures count once in both; those that put the
images in order are best-first's. Digits: all 600
search images; photos-32: 1000; 200 adversarial examples by FGSM at eps 2, 4 and 8 / 255.
"""

from begin import words
from common import claim, count_forwards, plain_loop, prepare

from search.tables.plan import SEARCH


def main() -> int:
    """Exhaustive and best-first in one process, on the same data."""
    holds = True
    for data in words("digits", "photos") or ("digits", "photos"):
        for eps in ("2", "4", "8"):
            bench = prepare("--data", data, "--eps-255", eps)
            bench.engine.stop()
            found = {}
            for strategy in ("exhaustive", "best-first"):
                question = bench.again("--strategy", strategy)
                plan, tally = question.plan()
                forwards = count_forwards(bench.network())
                wall_s = plain_loop(SEARCH, plan, bench.engine.store)
                leader = tally.leader()
                n_forwards = forwards() + sum(len(piece.images) for piece in question.in_order)
                found[strategy] = (leader and leader.name, n_forwards, wall_s)
            (winner, n_all, all_s), (same, n_few, few_s) = found.values()
            print(f"{data} eps {eps}: exhaustive {winner}, {n_all} forwards of {bench.n_pairs()} "
                  f"pairs, {all_s:.0f} s; best-first {same}, {n_few} forwards, {few_s:.0f} s",
                  flush=True)  # fmt: skip
            holds &= winner == same
            holds &= claim(f"{data} eps {eps}: best-first / exhaustive", n_few / n_all, 0.25)
    return not holds


if __name__ == "__main__":
    raise SystemExit(main())
