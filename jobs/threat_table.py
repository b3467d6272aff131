r"""What is left of a defence under gray-, black- and white-box attacks, beside other defences?

    python jobs/threat_table.py --smoke                  # few images, short attacks
    python jobs/threat_table.py --data photos --table k10-of16-af56
    python jobs/threat_table.py --data photos --table k10-of16-af56 --figure    # from stored rows
    python jobs/threat_table.py --data imagefolder:PATH \
        --model timm:resnetv2_50 --surrogate timm:resnetv2_101    # the paper's networks

Tables 2 and 3 of the defensive-table paper. Gray box: the attack knows the undefended network.
Black box: it knows another one. White box: it goes through the whole defence, forward exactly and
backward as if nothing were rounded (BPDA, the paper's row), and as PGD whose gradient is the mean
over a randomised defence's draws (EOT, the adaptive row). A defence is marked where its white-box
figures betray a masked gradient. All images are attacked, also those that are wrong anyway.

Last answer, photos 32 px, 300 images: in the gray box SHIELD defends best, with vaccinated networks
at least cost; the noise-trained ensemble no better than its table. In the white box nothing keeps
more than 5 % at 8/255.
"""

import argparse

import results
from results import threat_figure
from results import threats as answers
from search import chain_cli, cli, threat_cli, threat_plan, threats, victims
from search.engine.sweep import Engine

STUDY = threats.score_study("threat_table")
DEFENCES = ("none", "jpeg75", "fd", "tvm", "shield", "vaccinated", "smooth8", "table", "ours")
GRAY = ("fgsm@2", "fgsm@4", "fgsm@8", "ifgsm@2", "ifgsm@3", "ifgsm@4", "deepfool",
        "cw:searches=5@1000000x200")  # fmt: skip
BLACK = ("fgsm@2", "fgsm@4", "fgsm@8", "ifgsm@2", "ifgsm@3", "ifgsm@4", "tifgsm@2", "tifgsm@4",
         "difgsm@2", "difgsm@4")  # fmt: skip
WHITE = ("bpda", "fgsm@8", "pgd@2x20", "pgd@4x20", "pgd@8x20", "pgd@8x40x2")


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The study's own flags."""
    add, count = group.add_argument, cli.positive(int)
    add("--defences", nargs="+", default=DEFENCES, metavar="NAME", help="none, jpeg75, fd, tvm, "
        "shield, smooth8, any table's name; table: what --table names; ours: the noise-trained "
        "ensemble; vaccinated: SHIELD before its own networks")  # fmt: skip
    add("--gray", nargs="*", default=GRAY, metavar="ATTACK",
        help=f"gray box: {threat_cli.ATTACK_FORM}")  # fmt: skip
    add("--black", nargs="*", default=BLACK, metavar="ATTACK", help="black box")
    add("--white", nargs="*", default=WHITE, metavar="ATTACK", help="white box")
    add("--eot", type=count, default=5, metavar="N", help="draws of a randomised defence that a "
        "white-box gradient is the mean of; bpda takes one")  # fmt: skip
    add("--surrogate", metavar="NAME", help="the black box's network, as for --model; the same "
        "network from another seed unless given, where it is trained here")  # fmt: skip
    add("--members", default="+".join(victims.PAPER_MEMBERS), metavar="NAMES",
        help="of the ensemble, such as M+M90+M50")  # fmt: skip
    add("--sigma-255", type=cli.at_least_zero, default=8.0, metavar="LEVEL",
        help="standard deviation of the noise in training, in 1/255")  # fmt: skip
    chain_cli.add_chain_flags(group)
    threat_cli.add_image_flags(group)


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Train, attack, score, and say the answer."""
    source = cli.source_of(options)
    gray, black, white = (
        threat_cli.attacks_of(options, texts)
        for texts in (options.gray, options.black, options.white)
    )
    training, members = threat_cli.training_of(options), options.members.split("+")
    victims.check_names(options.defences, training.table, members)
    found = threat_cli.prepared(engine, options)
    fortified = victims.victims(
        engine, source, found, names=options.defences, training=training, members=members
    )
    bare = threats.Victim((found.weights,), ("",))
    asked = [threat_plan.Threat("gray", attack, bare) for attack in gray]
    if black:
        other = threats.Victim((victims.surrogate(engine, source, options.surrogate),), ("",))
        asked += [threat_plan.Threat("black", attack, other) for attack in black]
    asked += [
        threat_plan.Threat("white", attack, victim, against=name)
        for name, victim in fortified.items()
        for attack in white
    ]
    sweep, outcomes = threat_cli.measure(
        engine, options, STUDY, found, victims=fortified, asked=asked, n_samples=options.eot
    )
    marks = answers.masked(outcomes)
    title = f"{threat_cli.title(found)}, table {training.table}, sigma {training.sigma_255:g}/255"
    text = f"{title}\n{answers.table_text(outcomes, marks)}\n"
    print(text, end="")
    picture = threat_figure.threat_figure(outcomes, marks, title=title)
    cli.print_written(results.publish_files(
        engine.store, STUDY.name, sweep, text=text,
        frames={"accuracies": answers.lines(outcomes, marks)},
        figure=("threat_table.png", picture),
    ), width=10)  # fmt: skip
    return 0


JOB = cli.Job(
    name="threat_table", question=__doc__ or "", add_flags=add_flags, run=run,
    smoke={
        "epochs": 2, "chain_epochs": 1, "report_benign": 12, "block": 12,
        "defences": ("none", "smooth8", "table", "ours"), "gray": ("fgsm@8",),
        "black": ("difgsm@8x2",), "white": ("bpda@400x2", "pgd@8x2"), "eot": 2,
        "members": "M+M90",
    },
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
