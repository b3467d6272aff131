"""The worst case against one long attack: how many images does each leave right?

    python benchmarks/white_box.py                   # digits, eps 8: half an hour
    python benchmarks/white_box.py --data photos --eps-255 2 8 --images 120 --store out/white_box

For each defence the same images under PGD through the identity's derivative, of as many gradient
steps as the worst case takes in all, and under the worst case (`core.attacks.worst`), part by part.
It fails where the worst case leaves more images right than one of its parts, or than PGD on the
same images, or costs more than 12 PGD-40. With --store it goes on where it was stopped.
"""

import argparse
import statistics
import sys
import tempfile
import time
from typing import Any

import begin  # noqa: F401

import results
from core import attacks
from core.attacks import Attack
from core.defences.ensemble import Guarded
from jobs import threat_table
from results.files import Root
from results.stats import paired_decline
from results.store import Store
from results.threats import Column, Outcomes, outcomes
from search import Lab, Pictures
from search.engine.bank import Bank
from search.engine.engine import Engine
from search.flags import parse
from search.inputs import loading

TABLES = {
    "digits": ["k1-of16-af96", "k2-of16-af96", "k3-of16-af91", "k3-of16-af116", "uniform16"],
    "photos": ["k10-of16-af56", "uniform16"],
}
OTHERS = ["none", "fd", "jpeg75", "shield", "smooth8", "ours"]  # and, for hours: vaccinated tvm
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
    parser.add_argument("--no-costs", action="store_true", help="leave out the last claim")
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
    threat_table.JOB.answer(lab, asked)
    ((study, sweep),) = lab.swept
    rows = results.load(study, sweep=sweep, store=engine.store.root)
    names = list(dict.fromkeys(rows["defence"]))
    found = outcomes(rows, names)
    print(f"{lab.title}, {given.images} held-out images, a white box for each; images right")
    failed = [line for name in names for eps in map(float, given.eps_255)
              for line in _line(found, name, eps)]  # fmt: skip
    costs = {} if given.no_costs else _costs(lab, engine, lab.benign(report=given.images))
    for name, ratio in costs.items():
        print(f"{name}: the worst case costs {ratio:.1f} PGD-40 (at most {MOST_COST:g})")
    failed += [f"{name}: {ratio:.1f} PGD-40" for name, ratio in costs.items() if ratio > MOST_COST]
    print("\n".join(f"missed: {line}" for line in failed) or "every claim holds")
    return bool(failed)


def _line(found: Outcomes, name: str, eps: float) -> list[str]:
    own = {c: r for (d, c), r in found.right.items() if d == name and c.eps_255 == eps}
    white: dict[Column, Any] = {c: r for c, r in own.items() if c.threat == "white"}
    pgd = next(r for c, r in white.items() if c.attack == "pgd")
    worst = next(r for c, r in own.items() if c.threat == "worst")
    lost, won = int((pgd & ~worst).sum()), int((worst & ~pgd).sum())
    low, high = paired_decline(lost, won, len(pgd))
    over = f"{100 * (lost - won) / len(pgd):+.0f} [{low:+.0f}, {high:+.0f}]"
    parts = ", ".join(f"{c.attack} {r.sum()}" for c, r in white.items() if c.attack != "pgd")
    print(f"{name:<16} eps {eps:<3g} PGD-{GRADIENT_STEPS} {pgd.sum():3d}, worst {worst.sum():3d}: "
          f"overstated {over} points; {parts}")  # fmt: skip
    return [f"{name}: {c.text()} leaves fewer" for c, r in own.items() if r.sum() < worst.sum()]


def _costs(lab: Lab, engine: Engine, images: Pictures) -> dict[str, float]:
    """Seconds of the worst case over those of a PGD-40, side by side in this process."""
    piece, bank = images.pieces[0].name, Bank(engine.store.root)
    shown = loading.images_of(bank, piece).part(0, 24, "cpu")
    made = {}
    for name in ("none", "k3-of16-af91"):
        victim = loading.victim_of(bank, lab.victim(name), "cpu", "fp32")

        def seconds(attack: Attack, victim: Guarded = victim) -> float:
            start = time.perf_counter()
            ids = shown.ids.tolist()
            function = attacks.through(attack, victim)
            attacks.on_images(attack, function, shown.images, shown.labels, image_ids=ids, seed=0)
            return time.perf_counter() - start

        pgd, *parts = lab.attacks(["pgd@8x40", "worst@8"])
        rounds = [sum(map(seconds, parts)) / ((seconds(pgd) + seconds(pgd)) / 2) for _ in range(3)]
        made[name] = statistics.median(rounds)
    return made


if __name__ == "__main__":
    sys.exit(main())
