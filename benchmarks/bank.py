"""All defences scored from one bank of examples, against attacking again for each of them.

Gray-box examples do not depend on the defence that is scored, so a comparison of defences needs
them once. The same images, attack, defences and process on both sides, no Ray: the ratio is that
of the arithmetic alone.
"""

import time
from dataclasses import asdict

import torch
from common import claim, prepare

from core import attacks
from search import threat_plan, threats
from search.engine.study import Place
from search.threat_plan import Threat
from search.threats import ExamplesCell, ScoreCell, Victim

DEFENCES = ("none", "jpeg75", "fd", "shield", "smooth8", "k3-of16-af51", "tvm")
ATTACKS = ("fgsm@8", "pgd@8x10")
FLAGS = ("--data", "digits", "--benign", "100", "--adversarial", "20", "--report-benign", "200",
         "--report-adversarial", "20")  # fmt: skip
SCORES = threats.score_study("bank")
HERE = Place("cpu", 1)


def main() -> int:
    """Both ways, interleaved by attack."""
    torch.set_num_threads(HERE.n_threads)  # a second thread that waits counts as CPU time
    bench = prepare(*FLAGS)
    found = bench.question.prepared
    piece = next(p for p in found.pieces if (p.split, p.subject) == ("report", "benign"))
    victims = {name: Victim((found.weights,), ("",), name) for name in DEFENCES}
    holds = True
    for text in ATTACKS:
        attack = threat_plan.parse_attack(text, channels=1, side=found.inputs.side)
        cell = ExamplesCell(
            **asdict(found.inputs), networks=(found.weights,), tables=("",), front="none",
            split="report", images=piece.name, first=0, count=len(piece.images),
            attack=attack.name, eps_255=attack.eps_255, step_255=attack.step_255,
            n_steps=attack.n_steps, n_restarts=attack.n_restarts, n_samples=0, eight_bit=True,
        )  # fmt: skip
        once, again = (
            min(_seconds(bench, cell, attack, victims, again=way) for _ in range(2))
            for way in (False, True)
        )
        print(f"{text}: {once:.2f} s and {again:.2f} s of CPU", flush=True)
        holds &= claim(f"{text}: one bank / attacking again for each of {len(DEFENCES)} defences",
                       once / again, 1.0)  # fmt: skip
    return not holds


def _seconds(
    bench: object, cell: ExamplesCell, attack: attacks.Attack, victims: dict[str, Victim],
    *, again: bool,
) -> float:  # fmt: skip
    """Attack and score; `again`: attack before each defence."""
    threat = Threat("gray", attack, Victim(cell.networks, cell.tables))
    made, total = None, 0.0
    for name, victim in victims.items():
        start = time.process_time()
        if made is None or again:
            made = _run(bench, threats.EXAMPLES, cell)["piece"][0]
        total += time.process_time() - start
        found = bench.question.prepared
        for score in threat_plan.score_cells(
            found, {name: victim}, [(threat, cell, made)], block=1000
        ):
            if isinstance(score, ScoreCell) and score.threat == "gray":
                start = time.process_time()
                _run(bench, SCORES, score)
                total += time.process_time() - start
    return total


def _run(bench: object, study: object, cell: object) -> dict:
    return study.evaluate(cell, study.load(cell, bench.bank, HERE))


if __name__ == "__main__":
    raise SystemExit(main())
