"""Which members, trained with how much noise, make the best ensemble?

    python jobs/ensemble_tune.py --smoke            # two small chains on this machine
    python jobs/ensemble_tune.py --trials 12        # bundled digits
    python jobs/ensemble_tune.py --until 40 --storage postgresql://USER@HOST/DATABASE
    python jobs/ensemble_tune.py --figure           # answer and draw from what is stored

Optuna's Gaussian process chooses noise sigma, weight xi and the table's strength QS_AF; a trial
trains that chain M -> M90 -> .. -> M30, and all 255 subsets of its members are scored exactly. The
best subset whose benign accuracy stays within the limit wins, and is reported on images that the
tuning has not seen. Killed at any moment, the same command goes on; --until N is N trials in all.

Last answer, digits, FGSM 8/255: M40 alone (held out: 84.0 to 95.0 %). Photos 32 px, FGSM 2/255:
M70+M50+M40 at sigma 28/255, xi 0.5 (held out: 46.5 to 60.5 %, benign -3.5 points).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from core.errors import InputError
from core.known import MEMBERS
from search import Job, flag, flags, later, main
from search.command_line import points, whole_numbers
from search.tuning.asked import Flags

with later():
    from core.attacks import LINF
    from core.codec import qtable
    from results import Answer
    from search import Lab
    from search.engine.record import Record
    from search.inputs.making import sweep_name
    from search.inputs.pictures import n_of
    from search.tuning.answer import answer, starts, tune
    from search.tuning.ensembles import STUDY, Ensembles, Recipe
    from search.tuning.members import Tuning, counts
    from search.tuning.space import Axis, Space
    from search.tuning.storage import question_of
    from search.white_box import through_all

SIGMAS_255, QS_AF = tuple(range(0, 65, 2)), tuple(range(16, 117, 20))
USUAL_255 = 8.0  # the budget on digits, where no other is given


@dataclass(frozen=True, kw_only=True)
class Asked(Flags):
    """The study's own flags."""

    sigma_255: tuple[int, ...] = flag(
        SIGMAS_255, "noise of the training, in 1/255", "SIGMA", parse=whole_numbers(0, 255)
    )
    xi_percent: tuple[int, ...] = flag(
        (10, 30, 50, 70, 90), "weight of plain images", "XI", parse=whole_numbers(0, 100)
    )
    qs_af: tuple[int, ...] = flag(
        QS_AF, "step of the table's high band", "STEP", parse=whole_numbers(1, 255)
    )
    table: str = flag(flags.USUAL, f"{flags.TABLE}; tuning starts at its QS_AF", "NAME")
    rule: Literal["mean", "vote"] = flag("mean", "mean softmax, or majority vote")
    chain_epochs: int = flag(
        1, "of each of the seven fine-tuned members; the paper has 2 or 4 (14 or 28 in all)"
    )
    max_decline: float = flag(
        1.0, "a feasible subset loses less than this on benign images", parse=points
    )
    eps_255: float | None = flag(
        None, f"{flags.BUDGET}; {USUAL_255:g} where it is L-infinity", "EPS"
    )
    report_benign: int | None = flag(None, "held-out images; 1000 or all")
    report_adversarial: int = flag(200, "held-out examples")
    white: tuple[str, ...] = flag(
        ("worst@8",), f"through the whole tuned ensemble: {flags.ATTACK}", "ATTACK"
    )
    white_images: int = flag(100, "held-out images that --white attacks")


def ask(lab: Lab, asked: Asked, known: dict[str, Any] | None) -> tuple[Ensembles, Tuning]:
    """Prepare what the flags ask for; InputError before long work where they cannot be met.

    `known` is what the study asked so far.
    """
    table = qtable.parse_defensive(asked.table)
    axes = (Axis(name, getattr(asked, name)) for name in ("sigma_255", "xi_percent", "qs_af"))
    space = Space(tuple(axes), MEMBERS if asked.membership == "optuna" else ())
    attack = lab.attack(asked.attack, eps_255=asked.eps_255)
    if attack.norm is LINF and asked.eps_255 is None and "@" not in asked.attack:
        attack = lab.attack(asked.attack, eps_255=USUAL_255)
    n = {"search": asked.adversarial, "report": asked.report_adversarial}
    benign = lab.benign(attacked=n, search=asked.benign, report=asked.report_benign)
    (gray,) = lab.attacked(benign, attack, first_right=n)
    pieces = (*gray.pieces, *benign.pieces)
    recipe = Recipe(table=table, rule=asked.rule, epochs=asked.chain_epochs)
    on = (lab.engine, lab.source, lab.inputs, lab.classifier)
    ensembles = Ensembles(*on, pieces, attack, recipe)
    tuning = Tuning(
        study=asked.study,
        space=space,
        members=MEMBERS,
        starts=starts(space, table.qs_af),
        undefended=ensembles.undefended(),
        max_decline_points=asked.max_decline,
        objectives=asked.objectives,
        question=ensembles.question(),
        seed=asked.seed,
        counted=counts(known),
    )
    sweep = sweep_name([asked.study], tuning.asked())
    lab.answers((STUDY, sweep))
    facts = {"version": 1} | lab.state
    record = None if asked.figure else Record(lab.engine.store, STUDY, sweep, facts)
    return replace(ensembles, sweep=sweep, record=record), tuning


def run(lab: Lab, asked: Asked) -> Answer:
    """Tune, and report the chosen ensembles on held-out images."""
    if any(attack.norm is not LINF for attack in lab.attacks(asked.white)):
        raise InputError("--white takes L-infinity attacks alone.\nHint: worst@8 or pgd@2x50.")
    n_of(lab.data, "report", asked.white_images, "--white-images")
    with asked.opened(lab.engine.store.root) as opened:
        ensembles, tuning = ask(lab, asked, question_of(opened, asked.study))
        told = tune(opened, ensembles, tuning, asked)
    attack = ensembles.attack
    under = f"{attack.name} {attack.budget} on M"
    title = f"{lab.title}, {under}, {asked.rule}"
    white = partial(through_all, lab, asked.white, asked.white_images, asked.study)
    return answer(ensembles, tuning, told, title=title, under=under, white=white)


SMOKE = (
    f"{flags.SMOKE_NETWORK} --trials 2 --sigma-255 0,32 --xi-percent 90 --qs-af 116 --benign 60 "
    "--adversarial 20 --report-benign 60 --report-adversarial 20 --white worst@8x2 --white-images 9"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
