"""How much JPEG, against how much FGSM, at what price, and does it outlast who knows of it?

    python jobs/jpeg_fgsm.py --smoke
    python jobs/jpeg_fgsm.py --data mnist --model lenet5 --download
    python jobs/jpeg_fgsm.py --data mnist --model lenet5 --figure    # from stored rows

FGSM over a range of budgets on the undefended network (gray box), JPEG over a range of qualities:
the accuracy of each pair, eps 0 being the price. Beside it an attacker who goes through JPEG. For
each budget the quality that defends best at a small price is chosen on the search split.

Last answer, digits, 300 images: at 16/255 JPEG of quality 10 keeps 71.0 %, of quality 90 30.7 %,
no defence 28.7 %; none costs more than 0.3 benign points. At 32/255 none keeps more than 7 %.
PGD through JPEG leaves quality 10 30.0 % at 16/255 and nothing at 32/255.
MNIST, lenet5 of 8 epochs, 10,000 images: at 38/255 quality 5 gains 29 points for 0.4 benign ones.
"""

from dataclasses import dataclass

from search import Job, flag, flags, later, main
from search.command_line import positive, whole_numbers

with later():
    import pandas as pd

    from results import (
        Answer,
        Rows,
        accuracies,
        compared,
        gained,
        group_note,
        heat,
        test_of,
        text_table,
    )
    from results.priced import best, verdict
    from search import Lab, Threat, references, scores


@dataclass(frozen=True, kw_only=True)
class Asked(flags.HeldOut):
    """The study's own flags."""

    budgets_255: tuple[int, ...] = flag(
        (8, 16, 32, 64), "of FGSM in 1/255, such as 8-64/8", "EPS", parse=whole_numbers(1, 255)
    )
    qualities: tuple[int, ...] = flag(
        (10, 30, 50, 70, 90), "of JPEG, such as 10-90/20", "Q", parse=whole_numbers(1, 100)
    )
    adaptive: str = flag("pgd:through=cubic", "attack on network and JPEG together", "NAME")
    benign: int | None = flag(300, "images that the quality is chosen on")
    max_decline: float = flag(
        1.0, "a quality is feasible when it costs less", "POINTS", parse=positive
    )


def run(lab: Lab, asked: Asked) -> Answer:
    """Every quality on benign images, and on the same attacked with every budget."""
    attacks = [lab.attack(f"fgsm@{eps}") for eps in asked.budgets_255]
    adaptive = [lab.attack(asked.adaptive, eps_255=float(eps)) for eps in asked.budgets_255]
    told, choosing = lab.count(report=asked.report_benign), lab.count(search=asked.benign)
    victims = lab.victims(("none", *(f"jpeg{q}" for q in asked.qualities)))
    gray = [Threat("gray", attack, victims["none"]) for attack in attacks]
    white = [t for name in victims for t in lab.white(name, victims[name], adaptive)]

    def scored(threats: list[Threat], *words: str, **splits: int) -> Rows:
        benign = lab.benign(**splits)
        attacked = lab.threatened(benign, threats, block=asked.block)
        return lab.score(
            scores.study("jpeg_fgsm"), victims, [benign, *attacked], *words, block=asked.block
        )

    rows = scored(gray, "fgsm", **told)
    through = scored(white, "adaptive", **told)
    chosen = scored(gray, "fgsm", "search", **choosing)
    codecs = [name for name in victims if name != "none"]
    bits = references.bpp(lab, codecs, lab.benign(**told))
    kinds = {"FGSM": rows, f"adaptive {adaptive[0].name}": through}
    lines = pd.concat(
        [accuracies(own, ["defence", "eps_255"]).assign(kind=kind) for kind, own in kinds.items()]
    )
    won = compared(rows, [("none", name) for name in codecs], ["eps_255"])
    title = f"{lab.title}, JPEG against FGSM"
    text = [f"{title}; eps in 1/255"]
    for kind, own in lines.groupby("kind", sort=False):
        text += [f"accuracy under {kind}", text_table(own, "defence", "eps_255")]
    text += [
        group_note(lines),
        f"points gained over none under FGSM, same images [95 %, Tango; p: {test_of(won)}]",
        text_table(won, "second", "eps_255", cell=gained),
        *references.bpp_text(bits),
        f"best quality below {asked.max_decline:g} benign points, chosen on the search split:",
        *best(accuracies(chosen, ["defence", "eps_255"]), won, lines, asked.max_decline),
    ]
    plain = lines[lines["kind"] == "FGSM"]
    return Answer(
        text="\n".join(text),
        verdict=verdict(accuracies(chosen, ["defence", "eps_255"]), plain, asked.max_decline),
        frames={
            "accuracies": lines,
            "rates": pd.DataFrame({"codec": [*bits], "bpp": [*bits.values()]}),
        },
        figures={
            "jpeg_fgsm": heat(
                lines, "defence", "eps_255", panel="kind", title=title, xlabel="eps (1/255)"
            )
        },
    )


SMOKE = (
    "--epochs 2 --budgets-255 8,32 --qualities 10,90 --adaptive fgsm:through=cubic "
    "--report-benign 40 --benign 40 --block 40"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
