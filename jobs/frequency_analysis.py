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

import argparse
import io

import results
from core import attacks
from core.codec import frequency, qtable
from results import frequency as answers
from search import cli, prepare
from search.engine.sweep import Engine
from search.measures import frequencies

PATTERNS = (2, 3, 4, 6, 8)
SMOKE = {"benign": 60, "attacked": 20, "epochs": 2}


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The study's own flags."""
    add, count = group.add_argument, cli.positive(int)
    add("--benign", type=count, metavar="N", help="images a split to choose from; 1000 or all")
    add("--attacked", type=count, default=500, metavar="N", help="images attacked, of each split")
    add("--block", type=count, default=250, metavar="N", help="images per cell")
    add("--attack", choices=attacks.NAMES, default="fgsm", help="how examples are made")
    add("--eps-255", type=cli.at_least_zero, default=2.0, metavar="EPS",
        help="budget of the attack, L-infinity, in 1/255")  # fmt: skip


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Prepare, measure, and say the answer."""
    attack = attacks.Attack.with_defaults(options.attack, eps_255=options.eps_255)
    wanted = prepare.Wanted(
        benign=options.benign, adversarial=options.attacked, report_benign=options.benign,
        report_adversarial=options.attacked,
    )  # fmt: skip
    prepared = prepare.prepare(
        engine, cli.source_of(options), wanted, attack, eight_bit=True, precision=options.precision
    )
    asked = frequencies.cells(prepared, attack, options.block, splits=("search", "report"))
    lines = frequencies.measure(engine, asked, state=cli.state_of(options))
    inputs = prepared.inputs
    title = (
        f"{inputs.data} {inputs.side} px, {inputs.model}, {attack.name} eps {attack.eps_255:g}/255"
    )
    text = f"{title}\n{answers.answer_text(lines)}\n{bands(frequencies.luma_ratio(lines))}\n"
    print(text, end="")
    picture = io.BytesIO()
    answers.spectra(lines, title=title, path=picture)
    cli.print_written(results.publish_files(
        engine.store, frequencies.STUDY.name, frequencies.sweep_of(asked), text=text,
        frames={"deviations": lines}, figure=("spectra.png", picture.getvalue()),
    ))  # fmt: skip
    return 0


def bands(ratio: frequency.Map) -> str:
    """The band of smallest ratio in Y beside the paper's diagonals, and its name as a table."""
    out = ["OF band by measured ratio in Y, and what of it lies in the first k diagonals"]
    for k in PATTERNS:
        size = qtable.n_in_diagonals(k)
        mask = frequency.smallest(ratio, size)
        table = qtable.Banded.of(mask, qs_of=16, qs_af=50)
        n_shared = frequency.n_in_first_diagonals(mask, k)
        out.append(f"  k {k}: {n_shared:2d} of {size:2d}  {table.name}")
    return "\n".join(out)


JOB = cli.Job(
    name="frequency_analysis", question=__doc__ or "", add_flags=add_flags, run=run, smoke=SMOKE
)

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
