"""Does training on compressed, noisy or blurred images make a network sturdy against attacks?

    python jobs/augmented_threats.py --smoke
    python jobs/augmented_threats.py                  # photos, a thin network
    python jobs/augmented_threats.py --data cifar10 --network vgg11_small --epochs 30 --runs 3
    python jobs/augmented_threats.py --figure         # answer and draw from stored rows

The networks of `corruption_robustness`, one for each set of training images, found again where they
are trained. Gray box: examples of the network that was trained on images as they are. White box:
each network attacked for itself; worst@EPS is the worst case of several attacks, whatever the box.
No defence stands before any of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import InputError
from search import Job, flag, flags, later, main

with later():
    from core.attacks import Attack
    from results import Answer, Rows
    from results.counts import together
    from results.robust import ORIGINAL
    from results.threats import threat_answer
    from search import Lab, Threat, scores
    from search.inputs.making import piece_of
    from search.measures import augmented
    from search.transforming import trained_on, training_images


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Augmented, flags.HeldOut):
    """The study's own flags."""

    data: str = flag("photos", flags.DATA, "NAME")
    network: str = flag("vgg11_5", "that is trained on each set", "NAME")
    sets: tuple[str, ...] = flag(
        ("none", "jpeg10", "jpeg40", "noise0.05", "blur3", "augmix"),
        "training images: none, jpeg40, k10-of16-af56, bls:lambda=L, none+jpeg40, ...",
        "NAME",
    )
    gray: tuple[str, ...] = flag(("fgsm@2", "ifgsm@2"), f"gray box: {flags.ATTACK}", "ATTACK")
    white: tuple[str, ...] = flag(("fgsm@2", "worst@2"), f"white box: {flags.ATTACK}", "ATTACK")


def run(lab: Lab, asked: Asked) -> Answer:
    """Train on every set, attack, classify."""
    flags.no_classifier(asked, "--network says what is trained")
    augmented.check([asked.network], asked.sets)
    if ORIGINAL not in asked.sets:
        raise InputError(
            f"expected {ORIGINAL} among --sets: the gray box attacks the network of images as they "
            f"are, got {' '.join(asked.sets)}.\nHint: --sets {ORIGINAL} jpeg20."
        )
    wanted = {box: lab.attacks(getattr(asked, box)) for box in ("gray", "white")}
    lab.count(report=asked.report_benign)
    images = training_images(lab, asked.sets)
    trained = trained_on(lab, [asked.network], asked.sets, images, asked)
    runs: list[dict[str, str]] = [{} for _ in range(asked.runs)]
    for cell, epochs in trained.items():
        runs[cell.run][cell.training] = piece_of(epochs)
    rows = together([scored(lab, asked, wanted, weights) for weights in runs])
    title = f"{lab.images}, {asked.network}, {asked.epochs} epochs"
    return threat_answer(rows, asked.sets, title=title, judged=not asked.smoke)


def scored(
    lab: Lab, asked: Asked, wanted: Mapping[str, Sequence[Attack]], weights: Mapping[str, str]
) -> Rows:
    """The rows of one run's networks, named by what they were trained on."""
    own = lab.defending(asked.network, weights[ORIGINAL])
    victims = {name: own.network(piece) for name, piece in weights.items()}
    threats = [Threat("gray", attack, victims[ORIGINAL]) for attack in wanted["gray"]]
    for name, victim in victims.items():
        threats += own.white(name, victim, wanted["white"])
    benign = own.benign(report=asked.report_benign)
    attacked = own.threatened(benign, threats, block=asked.block)
    study = scores.study("augmented_threats")
    words = f"{len(victims)}-sets"
    return own.score(study, victims, [benign, *attacked], words, block=asked.block)


SMOKE = (
    "--data digits --network lenet5 --epochs 1 --sets none jpeg20 --gray fgsm@8 --white worst@8x2 "
    "--report-benign 12 --block 12"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
