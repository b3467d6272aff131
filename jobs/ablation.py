"""Which half of the defence helps: the table, or the colour space that it is applied in?

    python jobs/ablation.py --smoke                                   # few images, short attacks
    python jobs/ablation.py --data photos --table k10-of16-af56
    python jobs/ablation.py --data photos --table k10-of16-af56 --figure    # from stored rows

Figure 5 of the defensive-table paper: JPEG's table and the searched one, each in YCbCr 4:2:0 (JPEG
itself, and JPEG with the searched table) and in RGB, against four attacks on the undefended network
(gray box) and on benign images. Gray data have no colour space; the job asks for colour.

Last answer, photos 32 px, 300 images: on benign images the spaces do alike, under FGSM RGB loses 5
to 7 points; the searched table is no better than JPEG's at quality 75.
"""

import argparse

import results
from core.defences import defence_by_name
from core.errors import InputError
from results import threats as answers
from results.ablation import ablation_figure, ablation_text
from search import cli, threat_cli, threat_plan, threats
from search.engine.sweep import Engine

STUDY = threats.score_study("ablation")
ATTACKS = ("fgsm@2", "ifgsm@2", "deepfool", "cw:searches=5@1000000x200")


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The study's own flags."""
    add = group.add_argument
    add("--table", default="k10-of16-af56", metavar="NAME", help="such as a search's winner")
    add("--quality", type=cli.positive(int), default=75, metavar="Q", help="of JPEG, beside it")
    add("--attacks", nargs="+", default=ATTACKS, metavar="ATTACK", help=threat_cli.ATTACK_FORM)
    threat_cli.add_image_flags(group)


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Attack, score, and say the answer."""
    if cli.source_of(options).open().channels == 1:
        raise InputError(
            f"colour spaces need colour, and {options.data} is gray.\nHint: --data photos."
        )
    gray = threat_cli.attacks_of(options, options.attacks)
    jpeg, table = f"ijg{options.quality}", options.table
    names = {
        f"jpeg{options.quality}": (jpeg, "ycbcr420"),  # with its own table for chroma
        f"{jpeg}@rgb": (jpeg, "rgb"),
        f"{table}@ycbcr420": (table, "ycbcr420"),
        f"{table}@rgb": (table, "rgb"),
    }
    for name in names:
        defence_by_name(name)  # an unknown one is said before anything is trained
    found = threat_cli.prepared(engine, options)
    fronts = {name: threats.Victim((found.weights,), ("",), name) for name in ("none", *names)}
    asked = [threat_plan.Threat("gray", attack, fronts["none"]) for attack in gray]
    sweep, outcomes = threat_cli.measure(engine, options, STUDY, found, victims=fronts, asked=asked)
    title = threat_cli.title(found)
    text = f"{title}\n{ablation_text(outcomes, names)}\n"
    print(text, end="")
    cli.print_written(results.publish_files(
        engine.store, STUDY.name, sweep, text=text,
        frames={"accuracies": answers.lines(outcomes, {})},
        figure=("ablation.png", ablation_figure(outcomes, title=title)),
    ), width=10)  # fmt: skip
    return 0


JOB = cli.Job(
    name="ablation", question=__doc__ or "", add_flags=add_flags, run=run,
    smoke={
        "data": "photos", "epochs": 1, "report_benign": 20, "block": 20,
        "attacks": ("fgsm@8", "ifgsm@8x2"),
    },
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
