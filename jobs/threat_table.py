r"""What is left of a defence under gray-, black- and white-box attacks, beside other defences?

    python jobs/threat_table.py --smoke                  # few images, short attacks
    python jobs/threat_table.py --data photos --table k10-of16-af56
    python jobs/threat_table.py --data photos --table k10-of16-af56 --figure    # from stored rows
    python jobs/threat_table.py --data imagefolder:PATH \
        --model timm:resnetv2_50 --surrogate timm:resnetv2_101    # the paper's networks

Tables 2 and 3 of the defensive-table paper. Gray box: the attack knows the undefended network.
Black box: it knows another one. White box: it goes through the whole defence, forward exactly and
backward by a derivative in place of the quantiser's (BPDA, the paper's row; the mean over a
randomised defence's draws, EOT). worst@EPS is six such attacks and one row for each; what an image
is worth is the worst of all, gray and black box too. A defence is marked where an attack that
should be weaker breaks what a stronger one left. All images are attacked, also wrong ones.

Last answer, photos 32 px: in the gray box (300 images) networks fine-tuned on SHIELD's qualities
defend best; the noise-trained ensemble no better than its table, JPEG 75 ten points better. In the
white box at 2/255 (benchmarks/white_box.py) every deterministic codec is worth less than none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.errors import InputError
from core.known import MEMBERS, PAPER_MEMBERS
from search import Job, flag, flags, later, main
from search.command_line import between, level, whole_numbers

with later():
    import pandas as pd

    from core.attacks import Attack
    from core.defences import defence_by_name
    from core.defences.compression import SHIELD_QUALITIES
    from results import Answer, Rows
    from results.counts import together
    from results.threats import threat_answer
    from search import Lab, Threat, references, scores
    from search.inputs.loading import Victim

OURS, TABLE, VACCINATED = "ours", "table", "vaccinated"
STRENGTHS = "fgsm@2 fgsm@4 fgsm@8 ifgsm@2 ifgsm@3 ifgsm@4"


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Chained, flags.HeldOut):
    """The study's own flags."""

    defences: tuple[str, ...] = flag(
        ("none", "jpeg75", "fd", "fd@rgb", "tvm", "shield", VACCINATED, "smooth8", TABLE, OURS),
        "none, jpeg75, fd, tvm, shield, smooth8, any table's name; bls:lambda=L, "
        "denoiser:skips=both: what rate_distortion or denoise trained on these data; table: what "
        "--table names; ours: the noise-trained ensemble; vaccinated: SHIELD before its own "
        "networks",
        "NAME",
    )
    gray: tuple[str, ...] = flag(
        (*STRENGTHS.split(), "deepfool", "cw:searches=5@1000000x200"),
        f"gray box: {flags.ATTACK}",
        "ATTACK",
    )
    black: tuple[str, ...] = flag(
        (*STRENGTHS.split(), "tifgsm@2", "tifgsm@4", "difgsm@2", "difgsm@4"), "black box", "ATTACK"
    )
    white: tuple[str, ...] = flag(
        ("bpda", "pgd@2x40", "pgd@8x40", "worst@2", "worst@8"),
        "white box; worst@EPS: several derivatives and losses, and an attack without gradients",
        "ATTACK",
    )
    eot: tuple[int, ...] = flag(
        (5,),
        "draws of a randomised defence that a white-box gradient is the mean of, such as 5,20,80 "
        "to see it converge; bpda takes one",
        parse=whole_numbers(1, 10_000),
    )
    runs: int = flag(1, flags.RUNS)
    draws: int = flag(
        1,
        "of a randomised defence, that each image is scored under; it counts with their mean",
        parse=between(1, 1000, int),
    )
    surrogate: str | None = flag(
        None,
        "the black box's network, as for --model; the same network from another seed unless given, "
        "where it is trained here",
        "NAME",
    )
    members: str = flag("+".join(PAPER_MEMBERS), "of the ensemble, such as M+M90+M50", "NAMES")
    sigma_255: float = flag(
        8.0, "standard deviation of the noise in training, in 1/255", "LEVEL", parse=level
    )


def run(lab: Lab, asked: Asked) -> Answer:
    """Train, attack, score."""
    wanted = {box: lab.attacks(getattr(asked, box)) for box in ("gray", "black", "white")}
    labs = lab.runs(asked.runs)
    fronts = [asked.table if name == TABLE else name for name in asked.defences]
    check_names(fronts, asked.members.split("+"), lab.front)
    random = [name for name in fronts if draws_at_random(lab, name)]
    if asked.draws > 1 and not random and not asked.smoke:
        raise InputError(
            f"--draws {asked.draws} is of defences that draw at random, got {', '.join(fronts)}.\n"
            "Hint: leave it out, or name smooth8, shield or tvm among --defences."
        )
    lab.count(report=asked.report_benign)
    if asked.surrogate and not wanted["black"]:
        raise InputError("--surrogate is the black box's.\nHint: leave it out, or name --black.")
    rows = together([scored(own, asked, wanted, fronts, random) for own in labs])
    title = f"{lab.title}, table {asked.table}, sigma {asked.sigma_255:g}/255"
    answer = threat_answer(rows, fronts, title=title, judged=not asked.smoke)
    codecs = [name for name in fronts if name not in (OURS, VACCINATED)]
    bits = references.bpp(lab, codecs, lab.benign(report=asked.report_benign))
    return replace(answer, text="\n".join([answer.text, *references.bpp_text(bits)]))


def scored(
    lab: Lab,
    asked: Asked,
    wanted: Mapping[str, Sequence[Attack]],
    fronts: Sequence[str],
    random: Sequence[str],
) -> Rows:
    """The rows of one run's networks, under the attacks of each box; `random`: what draws."""
    members = asked.members.split("+")
    other = lab.surrogate(asked.surrogate) if wanted["black"] else None
    victims = {name: victim(lab, asked, name, members) for name in fronts}
    threats = [Threat("gray", attack, lab.victim()) for attack in wanted["gray"]]
    if other is not None:
        through = lab.network(lab.classifier_of(other, label="surrogate"))
        threats += [Threat("black", attack, through) for attack in wanted["black"]]
    for name, behind in victims.items():
        threats += lab.white(name, behind, wanted["white"], draws=asked.eot)
    benign = lab.benign(report=asked.report_benign)
    attacked = lab.threatened(benign, threats, block=asked.block)
    words = f"{len(victims)}-defences"
    rows = lab.score(
        scores.study("threat_table", 2), victims, [benign, *attacked], words, block=asked.block
    )
    if asked.draws > 1 and random:
        drawn = lab.score(
            scores.drawn_study("threat_draws"),
            {name: victims[name] for name in random},
            [benign, *attacked],
            words,
            block=asked.block,
            n_draws=asked.draws,
        )
        once = rows[~rows["defence"].isin(random)].assign(draw=0)
        rows = pd.concat([once, drawn.drop(columns="n_draws")])
    return rows


def victim(lab: Lab, asked: Asked, name: str, members: Sequence[str]) -> Victim:
    """A named defence before its networks, which are trained if they are not in the bank.

    Vaccinated networks are fine-tuned on JPEG-compressed images, from 80 down to 20 (Das et al.
    2018, section 3.3).
    """
    if name not in (OURS, VACCINATED):
        return lab.victim(name)
    cell = lab.chain_cell(asked, asked.sigma_255)
    if name == OURS:
        (chain,) = lab.chains([cell])
        return lab.victim(members=[m for m in chain.members if m.name in members])
    own = lab.chain_cell(
        asked, 0.0, table="ijg50", codec="jpeg", xi=0.0, qualities=SHIELD_QUALITIES[::-1]
    )
    (chain,) = lab.chains([own])
    networks = tuple(member.weights for member in chain.members[1:])
    return Victim(networks, ("",) * len(networks), "shield")


def draws_at_random(lab: Lab, name: str) -> bool:
    """Whether a named defence does something else each time."""
    if name == OURS:
        return False
    return lab.defence("shield" if name == VACCINATED else name).randomised


def check_names(
    fronts: Sequence[str],
    members: Sequence[str],
    check_front: Callable[[str], object] = defence_by_name,
) -> None:
    """InputError for names that nothing can be made of, before anything is trained."""
    if not fronts or len(set(fronts)) < len(fronts):
        raise InputError(
            f"expected defences, each once, got {' '.join(fronts) or 'none'}.\nHint: name each "
            f"once; '{TABLE}' is what --table names."
        )
    for front in fronts:
        if front not in (OURS, VACCINATED):
            check_front(front)
    if set(members) - set(MEMBERS) or len(set(members)) < len(members):
        raise InputError(
            f"expected members among {', '.join(MEMBERS)}, each once, got {', '.join(members)}.\n"
            "Hint: as in M+M90+M50."
        )


SMOKE = (
    f"{flags.SMOKE_NETWORK} --defences none smooth8 table ours --gray fgsm@8 --black difgsm@8x2 "
    "--white bpda@400x2 worst@8x2 --eot 2 --draws 2 --members M+M90 --chain-epochs 1 "
    "--report-benign 12 --block 12"
)
JOB = Job(
    __file__, __doc__, Asked, run, smoke=SMOKE,
    trains=lambda asked: not {OURS, VACCINATED}.isdisjoint(asked.defences),
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(main(JOB))
