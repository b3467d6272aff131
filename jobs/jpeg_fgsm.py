"""How much JPEG, against how much FGSM?

    python jobs/jpeg_fgsm.py --smoke
    python jobs/jpeg_fgsm.py --data mnist --download
    python jobs/jpeg_fgsm.py --data mnist --figure    # from stored rows

FGSM over a range of budgets on the undefended network (gray box), JPEG over a range of qualities:
the accuracy of each pair. It says nothing of an attacker who goes through JPEG.

Last answer, digits, 300 images: at 16/255 JPEG of quality 10 keeps 71.0 %, of quality 90 30.7 %,
no defence 28.7 %; none costs more than 0.3 benign points. At 32/255 none keeps more than 7 %.
"""

from dataclasses import dataclass

from results import Answer, accuracies, compared, gained, group_note, heat, test_of, text_table
from search import Job, Lab, Threat, flag, flags, main, scores

STUDY = scores.study("jpeg_fgsm")


@dataclass(frozen=True, kw_only=True)
class Asked(flags.HeldOut):
    """The study's own flags."""

    budgets_255: tuple[int, ...] = flag(
        (8, 16, 32, 64),
        "of FGSM in 1/255, such as 8-64/8",
        "EPS",
        parse=flags.whole_numbers(1, 255),
    )
    qualities: tuple[int, ...] = flag(
        (10, 30, 50, 70, 90), "of JPEG, such as 10-90/20", "Q", parse=flags.whole_numbers(1, 100)
    )


def run(lab: Lab, asked: Asked) -> Answer:
    """Every quality on benign images, and on the same attacked with every budget."""
    attacks = [lab.attack(f"fgsm@{eps}") for eps in asked.budgets_255]
    n = lab.count(report=asked.report_benign)
    victims = lab.victims(("none", *(f"jpeg{q}" for q in asked.qualities)))
    benign = lab.benign(**n)
    threats = [Threat("gray", attack, victims["none"]) for attack in attacks]
    attacked = lab.threatened(benign, threats, block=asked.block)
    rows = lab.score(STUDY, victims, [benign, *attacked], "fgsm", block=asked.block)
    lines = accuracies(rows, ["defence", "eps_255"])
    title = f"{lab.title}, FGSM on the undefended network"
    won = compared(rows, [("none", name) for name in victims if name != "none"], ["eps_255"])
    text = [
        f"{title}; eps in 1/255",
        text_table(lines, "defence", "eps_255"),
        group_note(lines),
        f"points gained over none, same images [95 %, Tango; p: {test_of(won)}]",
        text_table(won, "second", "eps_255", cell=gained),
    ]
    return Answer(
        text="\n".join(text),
        frames={"accuracies": lines},
        figures={"jpeg_fgsm": heat(lines, "defence", "eps_255", title=title, xlabel="eps (1/255)")},
    )


SMOKE = "--epochs 2 --budgets-255 8,32 --report-benign 40 --block 40"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
