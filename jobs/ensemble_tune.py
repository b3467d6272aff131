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

import argparse
from typing import Any

import numpy as np

import results
from core import attacks
from core.codec import qtable
from core.defences import subsets
from core.errors import InputError
from results import tuned as answers
from results import tuned_picture
from search import cli, prepare
from search.chain import MEMBERS
from search.engine.record import Record
from search.engine.sweep import Engine
from search.tuning import report as held
from search.tuning import storage
from search.tuning.driver import OBJECTIVES, Driver, Tuning
from search.tuning.report import Chosen
from search.tuning.space import Axis, Space
from search.tuning.subsets import STUDY, Ensembles, Recipe

STARTS = (32, 16, 48, 0)  # sigma_255 of the first trials: the middle, its halves, and no noise
PAPER_XI = 90  # percent


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The study's own flags."""
    add, count = group.add_argument, cli.positive(int)
    add("--study", default="ensemble", metavar="NAME", help="what the study is called; the same "
        "name goes on with it")  # fmt: skip
    add("--storage", metavar="URL", help="where its trials are kept: postgresql://USER@HOST/DB or "
        "sqlite:///FILE [a journal in the store's folder]")  # fmt: skip
    number = group.add_mutually_exclusive_group()
    number.add_argument("--trials", type=count, metavar="N", help="so many more trials [12]")
    number.add_argument("--until", type=count, metavar="N", help="so many trials in all")
    add("--membership", choices=("enumerate", "optuna"), default="enumerate",
        help="all subsets of each chain, exactly; or eight booleans that are searched")  # fmt: skip
    add("--objectives", choices=tuple(OBJECTIVES), default="single",
        help="adversarial images right; or those, benign ones and few members")  # fmt: skip
    add("--parallel", type=count, metavar="N", help="chains trained at a time; what fits "
        "unless given")  # fmt: skip
    add("--reproducible", action="store_true", help="one chain at a time, in strict order: a "
        "killed study equals an undisturbed one")  # fmt: skip
    add("--sigma-255", type=cli.whole_numbers, default=tuple(range(0, 65, 2)), metavar="SIGMA",
        help="noise of the training, in 1/255, such as 0-64/2")  # fmt: skip
    add("--xi-percent", type=cli.whole_numbers, default=tuple(range(10, 91, 20)), metavar="XI",
        help="weight of images as they are, such as 10-90/20")  # fmt: skip
    add("--qs-af", type=cli.whole_numbers, default=tuple(range(16, 117, 20)), metavar="STEP",
        help="strength of the table: step of its adversary-favoured band")  # fmt: skip
    add("--table", default="k3-of16-af116", metavar="NAME", help="table of quality 50, a search's "
        "winner; its QS_AF is where tuning starts")  # fmt: skip
    add("--rule", choices=subsets.RULES, default="mean", help="mean softmax, or majority vote")
    add("--chain-epochs", type=count, default=1, metavar="N", help="of each of the seven "
        "fine-tuned members; the paper has 2 or 4 (14 or 28 in all)")  # fmt: skip
    add("--max-decline", type=cli.positive(float), default=1.0, metavar="POINTS",
        help="a subset is feasible when it loses less than this on benign images")  # fmt: skip
    add("--benign", type=count, metavar="N", help="benign images; 1000 or all there are")
    add("--adversarial", type=count, default=200, metavar="N", help="adversarial examples")
    add("--report-benign", type=count, metavar="N", help="held-out images; 1000 or all")
    add("--report-adversarial", type=count, default=200, metavar="N", help="held-out examples")
    add("--attack", choices=attacks.NAMES, default="fgsm", help="on M: the gray box")
    add("--eps-255", type=cli.at_least_zero, default=8.0, metavar="EPS",
        help="budget of the attack, L-infinity, in 1/255")  # fmt: skip


SMOKE = {
    "trials": 2, "benign": 60, "adversarial": 20, "report_benign": 60, "report_adversarial": 20,
    "epochs": 2, "sigma_255": (0, 32), "xi_percent": (90,), "qs_af": (116,),
}  # fmt: skip


def ask(engine: Engine, options: argparse.Namespace) -> tuple[Ensembles, Tuning]:
    """Prepare what the flags ask for; InputError before long work where they cannot be met."""
    storage.check_name(options.study)
    if options.storage is None:
        storage.check_local(engine.store.root)
    table = qtable.parse_defensive(options.table)
    if table is None:
        raise InputError(
            f"--table must be of the searched family, got {options.table!r}.\n"
            "Hint: such as k3-of16-af116, the winner of jobs/qtable_search.py."
        )
    axes = (
        Axis("sigma_255", options.sigma_255), Axis("xi_percent", options.xi_percent),
        Axis("qs_af", options.qs_af),
    )  # fmt: skip
    space = Space(axes, MEMBERS if options.membership == "optuna" else ())
    recipe = Recipe(table=table, rule=options.rule, epochs=options.chain_epochs)
    attack = attacks.Attack.with_defaults(options.attack, eps_255=options.eps_255)
    source = cli.source_of(options)
    wanted = prepare.Wanted(
        benign=options.benign, adversarial=options.adversarial,
        report_benign=options.report_benign, report_adversarial=options.report_adversarial,
    )  # fmt: skip
    prepared = prepare.prepare(
        engine, source, wanted, attack, eight_bit=True, precision=options.precision
    )
    asked = Ensembles(engine, source, prepared, attack, recipe, "")
    tuning = Tuning(
        study=options.study, space=space, members=MEMBERS, starts=starts(space, table.qs_af),
        undefended=asked.undefended(), max_decline_points=options.max_decline,
        objectives=options.objectives, question=asked.question(), seed=options.seed,
    )  # fmt: skip
    sweep = prepare.sweep_name([options.study], tuning.asked())
    record = None
    if not options.figure:
        record = Record(engine.store, STUDY, sweep, {"version": 1} | cli.state_of(options))
    return Ensembles(engine, source, prepared, attack, recipe, sweep, record), tuning


def starts(space: Space, qs_af: int) -> tuple[dict[str, int], ...]:
    """The first settings: each sigma of STARTS at the paper's xi, moved onto the grid."""
    found: list[dict[str, int]] = []
    for sigma in STARTS[: space.size]:
        wanted = {"sigma_255": sigma, "xi_percent": PAPER_XI, "qs_af": qs_af}
        wanted |= {name: 1 for name in space.distributions if name not in wanted}
        near = space.nearest_untried(wanted, [])
        if near is not None and near not in found:
            found.append(near)
    return tuple(found)


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Prepare, tune, report, and say the answer."""
    ensembles, tuning = ask(engine, options)
    with storage.opened(engine.store.root, options.study, options.storage) as opened:
        driver = Driver(opened, tuning, ensembles)
        if not options.figure:
            more = None if options.until else options.trials or 12
            parallel = 1 if options.reproducible else options.parallel or engine.slots()
            ensembles.note("running")
            try:
                driver.run(until=options.until, more=more, parallel=parallel)
            finally:
                ensembles.note("stopped")
            ensembles.note("complete")
        failed, importances = driver.failed(), driver.importances()
    if not ensembles.settled():
        raise InputError(f"no trial of {options.study!r} is complete.\nHint: --trials 12")
    answer(ensembles, tuning, importances, opened.name)
    for number, error in failed.items():
        print(f"trial {number} failed and is not tried again: {error}")
    return cli.EXIT_FAILED_CELLS if failed else 0


def chosen(line: Any) -> Chosen:
    """The ensemble that a row of `ensemble_tune` is about."""
    setting = {
        "sigma_255": int(line["sigma_255"]), "xi_percent": round(100 * line["xi"]),
        "qs_af": int(line["qs_af"]),
    }  # fmt: skip
    return Chosen(setting, str(line["members"]))


def optimism(ensembles: Ensembles, found: answers.Tuned, tuning: Tuning) -> answers.Optimism:
    """What choosing among all subsets of all chains costs."""
    chains = ensembles.chains([chosen(line).setting for _, line in found.trials.iterrows()])
    right = {
        subject: np.concatenate([
            subsets.right(outputs, ensembles.labels("search", subject), rule=ensembles.recipe.rule)
            for outputs in ensembles.outputs(chains, "search", subject)
        ])
        for subject in ("benign", "adversarial")
    }  # fmt: skip
    return answers.optimism(
        right["benign"], right["adversarial"],
        np.concatenate([piece.right for piece in ensembles.pieces("search", "benign")]),
        np.tile(subsets.masks(len(MEMBERS)).sum(axis=1), len(chains)),
        most_lost=subsets.most_lost(right["benign"].shape[1], tuning.max_decline_points),
    )  # fmt: skip


def answer(
    ensembles: Ensembles, tuning: Tuning, importances: dict[str, float], storage: str
) -> None:
    """Report the chosen ensembles on held-out images; print and write what the rows say."""
    store, limit = ensembles.engine.store, tuning.max_decline_points
    rows = results.load("ensemble_tune", sweep=ensembles.sweep, store=store.root)
    counts = ("n_benign_right", "n_adversarial_right", "n_members")
    front = subsets.front(*(rows[name].to_numpy(dtype=np.int64) for name in counts))
    found = answers.tuned(rows, front, max_decline_points=limit)
    roles = {
        "none": Chosen(chosen(found.winner).setting, "M"), "single": chosen(found.single),
        "paper": chosen(found.paper), "tuned": chosen(found.winner),
    }  # fmt: skip
    chains = held.report(ensembles, list(roles.values()))
    held_out = results.load("ensemble_report", sweep=ensembles.sweep, store=store.root)
    asked = {
        role: (chain, one.members)
        for (role, one), chain in zip(roles.items(), chains, strict=True)
    }  # fmt: skip
    report = answers.by_role(held_out, asked)
    text = answers.answer_text(
        found, report, optimism(ensembles, found, tuning), max_decline_points=limit
    )
    inputs, attack = ensembles.prepared.inputs, ensembles.attack
    title = (
        f"{inputs.data} {inputs.side} px, {inputs.model}, {attack.name} eps {attack.eps_255:g}/255 "
        f"on M, {ensembles.recipe.rule}: {len(found.trials)} chains of study {tuning.study}"
    )
    print(text)
    picture = tuned_picture.png(tuned_picture.tuning_figure(
        found, importances, title=title, max_decline_points=limit
    ))  # fmt: skip
    cli.print_written(answers.publish(
        store, ensembles.sweep, found, text=f"{title}\n{text}\n", picture=picture,
        ensemble=held.export(ensembles, roles["tuned"]),
    ))  # fmt: skip
    cli.print_written([("study", storage)])


JOB = cli.Job(
    name="ensemble_tune", question=__doc__ or "", add_flags=add_flags, run=run, smoke=SMOKE
)

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
