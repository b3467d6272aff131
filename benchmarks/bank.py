"""All defences scored from one bank of examples, against attacking again for each of them.

Gray-box examples do not depend on the defence that is scored, so a comparison of defences needs
them once. The same images, attack, defences and process on both sides, no Ray: the ratio is that
of the arithmetic alone.
"""

import time
from typing import Any

import torch
from begin import words
from common import Bench, claim, prepare

from core import attacks
from results import schema
from search import Pictures, Study, scores
from search.engine.study import Made, Place
from search.inputs.images import EXAMPLES, ExamplesCell
from search.inputs.loading import Victim
from search.inputs.pictures import Piece

DEFENCES = ("none", "jpeg75", "fd", "shield", "smooth8", "k3-of16-af51", "tvm")
ATTACKS = ("fgsm@8", "pgd@8x10")
FLAGS = ("--data", "digits", "--benign", "100", "--adversarial", "20", "--report-benign", "200",
         "--report-adversarial", "20")  # fmt: skip
SCORES = scores.study("bank")
N_THREADS = 1


def main() -> int:
    """Both ways, interleaved by attack."""
    torch.set_num_threads(N_THREADS)  # a second thread that waits counts as CPU time
    bench = prepare(*FLAGS)
    found = bench.question
    piece = next(p for p in found.of("report") if p.subject == "benign")
    victims = {name: Victim((found.weights,), ("",), name) for name in DEFENCES}
    holds = True
    for text in ATTACKS:
        attack = bench.lab.attack(text)
        cell = ExamplesCell(
            **found.inputs.fields(), networks=(found.weights,), tables=("",), front="none",
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
    bench: Bench, cell: ExamplesCell, attack: attacks.Attack, victims: dict[str, Victim],
    *, again: bool,
) -> float:  # fmt: skip
    """Attack and score; `again`: attack before each defence."""
    made, total = None, 0.0
    for name, victim in victims.items():
        start = time.process_time()
        if made is None or again:
            made = _attacked(bench, cell, attack)
        total += time.process_time() - start
        for score in scores.cells(bench.question.inputs, {name: victim}, [made], block=1000):
            start = time.process_time()
            _run(bench, SCORES, score)
            total += time.process_time() - start
    return total


def _attacked(bench: Bench, cell: ExamplesCell, attack: attacks.Attack) -> Pictures:
    """Examples, put into the bank."""
    made = _run(bench, EXAMPLES, cell)
    assert isinstance(made, Made)
    name, _ = bench.bank.put(dict(made.tensors), made.metadata)
    ids, labels = made.columns["image"], made.columns["label"]
    piece = Piece(name, cell.split, "adversarial", ids, labels, undefended=labels[:0])
    return Pictures((piece,), "gray", attack)


def _run(bench: Bench, study: Study[Any, Any], cell: Any) -> schema.Columns | Made:
    place = Place("cpu", N_THREADS, bench.bank, str)
    return study.evaluate(cell, study.load(cell, place))


if __name__ == "__main__":
    words()
    raise SystemExit(main())
