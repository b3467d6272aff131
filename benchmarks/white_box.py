"""The worst case against one long attack: how many images does each leave right?

    python benchmarks/white_box.py                                        # digits, eps 8: minutes
    python benchmarks/white_box.py --data photos --eps-255 2 8 --images 120 --store out/white_box

For each defence the same images under PGD through the identity's derivative, of as many gradient
steps as the worst case takes in all, and under the worst case (`core.attacks.worst`), part by part.
It fails where the worst case leaves more images right than one of its parts, or than PGD on the
same images, or costs more than 12 PGD-40. With --store it goes on where it was stopped.
"""

import argparse
import sys
import tempfile
from typing import Any

import pandas as pd

import results
from jobs import threat_table
from results.files import Root
from results.stats import paired_decline
from results.store import Store
from results.threats import Column, Outcomes, outcomes
from results.words import signed
from search import Lab
from search.engine.engine import Engine
from search.flags import parse

TABLES = {
    "digits": ["k1-of16-af96", "k2-of16-af96", "k3-of16-af91", "k3-of16-af116", "uniform16"],
    "photos": ["k10-of16-af56", "uniform16"],
}
OTHERS = ["none", "fd", "jpeg75", "shield", "vaccinated", "smooth8", "tvm", "ours"]
GRADIENT_STEPS = 40 * 7  # of the worst case: four of APGD, three targets of one more
MOST_COST = 12.0  # times PGD-40


def main() -> int:
    """Print the table and the costs; 1 where a claim fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="digits", choices=TABLES)
    parser.add_argument("--eps-255", nargs="+", default=["8"])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--defences", nargs="+")
    parser.add_argument("--store")
    given = parser.parse_args()
    rgb = ["fd@rgb"] if given.data == "photos" else []
    defences = given.defences or [*TABLES[given.data], *OTHERS, *rgb]
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Store(Root(given.store or folder)), gpus=0.0)
        try:
            return _report(engine, given, defences)
        finally:
            engine.stop()


def _report(engine: Engine, given: argparse.Namespace, defences: list[str]) -> int:
    white = [text for eps in given.eps_255 for text in (f"pgd@{eps}x40x7", f"worst@{eps}")]
    words = ["--data", given.data, "--report-benign", str(given.images), "--block", "30"]
    words += ["--defences", *defences, "--gray", *(f"ifgsm@{eps}" for eps in given.eps_255)]
    words += ["--black", "--white", *white]
    asked = parse(threat_table.Asked, name="white_box", question="", argv=words)
    lab = Lab(engine, asked)
    threat_table.run(lab, asked)
    assert lab.swept is not None
    rows = results.load(lab.swept[0], sweep=lab.swept[1], store=engine.store.root)
    names = list(dict.fromkeys(rows["defence"]))
    found = outcomes(rows, names)
    print(f"{lab.title}, {given.images} held-out images, a white box for each; images right")
    failed = [line for name in names for eps in map(float, given.eps_255)
              for line in _line(found, name, eps)]  # fmt: skip
    costs = _costs(results.load("examples", store=engine.store.root))
    print(costs.to_string(float_format="{:.1f}".format))
    failed += [
        f"{name}: {cost:.1f} PGD-40" for name, cost in costs["ratio"].items() if cost > MOST_COST
    ]
    print("\n".join(f"missed: {line}" for line in failed) or "every claim holds")
    return bool(failed)


def _line(found: Outcomes, name: str, eps: float) -> list[str]:
    own = {c: r for (d, c), r in found.right.items() if d == name and c.eps_255 == eps}
    white: dict[Column, Any] = {c: r for c, r in own.items() if c.threat == "white"}
    pgd = next(r for c, r in white.items() if c.attack == "pgd")
    worst = next(r for c, r in own.items() if c.threat == "worst")
    low, high = paired_decline(int((pgd & ~worst).sum()), int((worst & ~pgd).sum()), len(pgd))
    over = {"gain": 100 * (pgd.mean() - worst.mean()), "low": low, "high": high}
    parts = ", ".join(f"{c.attack} {r.sum()}" for c, r in white.items() if c.attack != "pgd")
    print(f"{name:<16} eps {eps:<3g} PGD-{GRADIENT_STEPS} {pgd.sum():3d}, worst {worst.sum():3d}: "
          f"overstated {signed(over)} points; {parts}")  # fmt: skip
    return [f"{name}: {c.text()} leaves fewer" for c, r in own.items() if r.sum() < worst.sum()]


def _costs(rows: results.Rows) -> pd.DataFrame:
    """Seconds of the worst case's parts and of a PGD-40, and their ratio, by defence in front."""
    cells = rows.drop_duplicates("cell_id").astype({"front": str, "attack": str})
    seconds = cells.pivot_table(index="front", columns="attack", values="wall_s", aggfunc="sum")
    parts = [name for name in seconds if name.startswith(("apgd", "square"))]
    made = pd.DataFrame({"worst_s": seconds[parts].sum(axis=1), "pgd40_s": seconds["pgd"] / 7})
    return made.assign(ratio=made["worst_s"] / made["pgd40_s"]).dropna()


if __name__ == "__main__":
    sys.exit(main())
