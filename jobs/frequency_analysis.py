"""Which frequencies carry the image, and which the distortion?

    python jobs/frequency_analysis.py --smoke                   # two small cells
    python jobs/frequency_analysis.py --data photos --eps-255 2    # six channels of photographs
    python jobs/frequency_analysis.py --data photos --eps-255 2 --figure    # from stored rows

Figures 2 and 3 of the defensive-table paper: the standard deviation of each of the 64 block-DCT
coefficients over benign images (delta_b) and over x_adv - x (delta_a), in R, G, B, Y, Cb, Cr. The
paper cuts its bands along diagonals u + v; here the measured ratio is compared with that order.

Last answer, photos 32 px: rank correlation of the ratio with u + v 0.90 in Y, 0.81 in Cb; chroma is
adversary-favoured throughout.
"""

from dataclasses import dataclass

from search import Job, flag, flags, later, main

with later():
    from core.codec import frequency, qtable
    from results import Answer, frequency_picture
    from results import frequency as answers
    from search import Lab
    from search.measures import frequencies

PATTERNS = (2, 3, 4, 6, 8)


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Attacked):
    """The study's own flags."""

    benign: int | None = flag(None, "images a split to choose from; 1000 or all")
    attacked: int = flag(500, "images attacked, of each split")
    block: int = flag(250, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Measure benign images and distortions of both splits."""
    attack = lab.attack(asked.attack, eps_255=asked.eps_255)
    benign = lab.benign(attacked=asked.attacked, search=asked.benign, report=asked.benign)
    (gray,) = lab.attacked(benign, attack, first_right=asked.attacked)
    cells = list(
        frequencies.cells(lab.inputs, lab.classifier, attack, benign, gray, block=asked.block)
    )
    words = (attack.name, f"eps{attack.eps_255:g}")
    rows = lab.sweep(frequencies.STUDY, cells, *words, label="frequencies")
    lines = answers.deviations(rows)
    title = f"{lab.title}, {attack.name} {attack.budget}"
    bands = bands_text(frequencies.luma_ratio(lines))
    return Answer(
        text=f"{title}\n{answers.answer_text(lines)}\n{bands}",
        verdict=answers.verdict(lines),
        frames={"deviations": lines},
        figures={"spectra": frequency_picture.spectra(lines, title=title)},
    )


def bands_text(ratio: frequency.Map) -> str:
    """The band of smallest ratio in Y beside the paper's diagonals, and its name as a table."""
    out = ["OF band by measured ratio in Y, and what of it lies in the first k diagonals"]
    for k in PATTERNS:
        size = qtable.n_in_diagonals(k)
        mask = frequency.smallest(ratio, size)
        table = qtable.Banded.of(mask, qs_of=16, qs_af=50)
        n_shared = frequency.n_in_first_diagonals(mask, k)
        out.append(f"  k {k}: {n_shared:2d} of {size:2d}  {table.name}")
    return "\n".join(out)


SMOKE = "--epochs 2 --benign 60 --attacked 20"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
