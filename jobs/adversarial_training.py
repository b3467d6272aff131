"""Noise-training or adversarial training: what do robustness and its price compare to?

    python jobs/adversarial_training.py --smoke     # short training, few images
    python jobs/adversarial_training.py             # bundled digits, eps 2 and 4
    python jobs/adversarial_training.py --figure    # answer again from stored rows

Table 1 of the defensive-table paper: Fast, Free and ours (M, M90, M70, M50, M30, mean of softmax),
each as it is, under PGD with 1 and with 10 restarts, and under the worst of several attacks (gray
ones too). Where --model comes with its weights, Fast and Free start from them, as ours does; else
from random ones. They are attacked in the white box; ours in both: "gray" attacks M alone,
"white" the whole ensemble, through its codec.

Last answer, digits, PGD-50 at 8/255, 60 images: Fast and Free 98 %, ours 88 %, for about the time
of Fast and half of that of Free. CIFAR-10, ResNet-20, 2/255, 40 images, worst case: ours 15 %, Fast
42, Free 48; ours where M alone is attacked 42.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.known import PAPER_MEMBERS
from search import Job, flag, flags, later, main
from search.command_line import level, positive

with later():
    import pandas as pd

    from core.attacks import Attack
    from core.training.adversarial import METHODS
    from results import Answer, Rows, accuracies, interval, text_table
    from results.counts import spread, together
    from results.threats import worst_cases
    from results.words import of_runs, runs_note
    from search import Lab, Threat, scores


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Chained, flags.HeldOut):
    """The study's own flags."""

    eps_255: tuple[float, ...] = flag(
        (2.0, 4.0), "budgets of training and attack, in 1/255", "LEVELS"
    )
    sigma_255: float = flag(
        8.0, "standard deviation of the noise in training, in 1/255", "LEVEL", parse=level
    )
    at_epochs: int | None = flag(None, "of Fast and Free; by data set unless given")
    at_learning_rate: float | None = flag(
        None, "of Fast and Free, the largest; 0.1, or 0.01 from weights", "RATE", parse=positive
    )
    attack_steps: int = flag(50, "of PGD, of eps / 4 each")
    restarts: int = flag(10, "of PGD")
    runs: int = flag(1, flags.RUNS)
    report_benign: int | None = flag(60, "held-out images")
    block: int = flag(15, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Train all, attack all, and score all, of each run's networks."""
    wanted: dict[str, dict[float, list[Attack]]] = {"gray": {}, "white": {}}
    for eps in asked.eps_255:
        steps: dict[str, Any] = {"step_255": eps / 4, "n_steps": asked.attack_steps}
        restarts = dict.fromkeys((1, asked.restarts))
        pgd = [lab.attack("pgd", eps_255=eps, n_restarts=n, **steps) for n in restarts]
        wanted["gray"][eps] = pgd
        wanted["white"][eps] = [*pgd, *lab.attacks([f"worst@{eps:g}x{asked.attack_steps}"])]
    runs = [scored(own, asked, wanted) for own in lab.runs(asked.runs)]
    rows, walls = together([own for own, _ in runs]), pd.DataFrame([own for _, own in runs]).mean()
    pgd_rows = rows[rows["attack"].isin(("none", "pgd"))]
    under = pgd_rows["n_restarts"].map("PGD, restarts: {}".format)
    tried = [pgd_rows.assign(under=under.where(pgd_rows["threat"] != "none", "standard"))]
    tried.append(worst_cases(rows).assign(threat="white", under="worst case"))
    every, by = pd.concat(tried), ["defence", "threat", "eps_255", "under"]
    lines = spread(accuracies(every, by), every, by)
    notes = [runs_note(asked.runs)] if asked.runs > 1 else []
    title = f"{lab.title}, PGD of {asked.attack_steps} steps, sigma {asked.sigma_255:g}/255"
    minutes = [
        f"  {name:<12}{wall_s / 60:7.2f} min, {wall_s / walls['ours']:5.2f} x ours"
        for name, wall_s in walls.items()
    ]
    counted = f"% right of {lines['n'].iloc[0]}"
    text = [title, counted, side_by_side(lines), *notes, "training", *minutes]
    return Answer(text="\n".join(text), verdict=verdict(lines), frames={"robustness": lines})


def verdict(lines: Rows) -> str:
    """What is left of each method in the worst case of the least budget."""
    worst = lines[lines["under"] == "worst case"]
    own = worst[worst["eps_255"] == worst["eps_255"].min()]
    own = own.sort_values("accuracy", ascending=False, kind="stable")
    said = [f"{line['defence']} {line['accuracy']:.1f} %" for _, line in own.iterrows()]
    least = own["eps_255"].iloc[0]
    return f"white box, worst of all within {least:g}/255: {', '.join(said)} right"


def scored(
    lab: Lab, asked: Asked, wanted: Mapping[str, Mapping[float, Sequence[Attack]]]
) -> tuple[Rows, Mapping[str, float]]:
    """The rows of one run's networks under attacks of each budget; seconds of their training."""
    benign = lab.benign(report=asked.report_benign)
    baselines = [(method, eps) for eps in asked.eps_255 for method in METHODS]
    recipes = [f"{method}:eps={eps:g}" for method, eps in baselines]
    trained = lab.trained(recipes, epochs=asked.at_epochs, learning_rate=asked.at_learning_rate)
    (chain,) = lab.chains([lab.chain_cell(asked, asked.sigma_255)])
    ours = lab.victim(members=[m for m in chain.members if m.name in PAPER_MEMBERS])
    victims, walls, threats = {"ours": ours}, {"ours": chain.wall_s}, []
    for (method, eps), made in zip(baselines, trained, strict=True):
        name = f"{method} eps {eps:g}"
        victims[name], walls[name] = lab.network(made.weights), made.wall_s
    for eps in asked.eps_255:
        gray = wanted["gray"][eps]
        threats += [Threat("gray", attack, lab.victim(), against="ours") for attack in gray]
        for name in ("ours", *(f"{method} eps {eps:g}" for method in METHODS)):
            threats += lab.white(name, victims[name], wanted["white"][eps])
    attacked = lab.threatened(benign, threats, block=asked.block)
    study, pictures = scores.study("adversarial_training_2"), [benign, *attacked]
    return lab.score(study, victims, pictures, "robustness", block=asked.block), walls


def side_by_side(lines: Rows) -> str:
    """A line for each method and threat: as it is, under PGD, and under the worst of all."""
    shown = []
    attacked = lines[lines["threat"] != "none"]
    for key, own in attacked.groupby(["eps_255", "defence", "threat"]):
        eps, name, threat = map(str, key)
        method = f"{name if ' ' in name else f'{name} eps {float(eps):g}'} ({threat})"
        plain = lines[(lines["defence"] == name) & (lines["threat"] == "none")]
        shown += [plain.assign(method=method), own.assign(method=method)]
    return text_table(pd.concat(shown), "method", "under", cell=of_runs(interval))


SMOKE = (
    f"{flags.SMOKE_NETWORK} --eps-255 2 --at-epochs 1 --attack-steps 2 --restarts 2 "
    "--report-benign 10 --block 10 --chain-epochs 1"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
