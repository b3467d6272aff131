"""RGB or YCbCr: in which colour space does one step for all coefficients defend better?

    python jobs/color_space.py --smoke                 # two small cells
    python jobs/color_space.py --eps-255 2             # photos: 20 steps in three spaces
    python jobs/color_space.py --eps-255 2 --figure    # from stored rows

Figure 4 of the defensive-table paper: the same table for all channels in RGB, and in YCbCr (BT.601
full range) without and with chroma at half the resolution; FGSM at eps = 0.008, about 2/255. RGB is
the paper's codec; YCbCr is libjpeg's JPEG with that table. Gray images have one space.

Last answer, photos 32 px: at the same step RGB keeps more benign accuracy; at equal benign accuracy
it is no better (best below 1 point: RGB 62.5, YCbCr 4:4:4 68.0, 4:2:0 66.0 %).
"""

import itertools
from dataclasses import dataclass

from search import Job, flag, flags, later, main
from search.command_line import points, whole_numbers

with later():
    from core.defences import SPACES
    from results import (
        Answer,
        Rows,
        accuracies,
        compared,
        curves,
        gained,
        group_note,
        interval,
        test_of,
    )
    from search import Lab, references, scores


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Searched):
    """The study's own flags."""

    data: str = flag("photos", flags.DATA, "NAME")
    steps: tuple[int, ...] = flag(
        tuple(range(5, 101, 5)), "such as 5-100/5", "STEP", parse=whole_numbers(1, 255)
    )
    block: int = flag(250, "images per cell")
    max_decline: float = flag(
        1.0, "a step is feasible when it costs less benign accuracy", "POINTS", parse=points
    )


def run(lab: Lab, asked: Asked) -> Answer:
    """Every step in every space, on benign and attacked images."""
    lab.needs_colour()
    attack = lab.attack(asked.attack, eps_255=asked.eps_255)
    names = {f"uniform{step}@{space}": (space, step) for space in SPACES for step in asked.steps}
    n = lab.count(attacked=asked.adversarial, search=asked.benign)
    victims = lab.victims(("none", *names))
    benign = lab.benign(**n)
    gray = lab.attacked(benign, attack, first_right=asked.adversarial)
    words = (attack.name, f"eps{attack.eps_255:g}")
    rows = lab.score(
        scores.study("color_space_2"), victims, [benign, *gray], *words, block=asked.block
    )
    lines = accuracies(rows, ["defence", "subject"])
    lines["space"], lines["step"] = zip(
        *(names.get(name, ("none", 0)) for name in lines["defence"]), strict=True
    )
    title = f"{lab.title}, {attack.name} {attack.budget}"
    none, shown = lines[lines["space"] == "none"], lines[lines["space"] != "none"]
    said, picked = best(rows, none, shown, asked.max_decline)
    bits = references.bpp_text(references.bpp(lab, picked, benign))
    text = [title, *said, group_note(lines), *bits]
    across, xlabel = ("benign", "adversarial"), "step of all 64 coefficients"
    drawn = curves(
        shown, "step", "space", "subject", title=title, xlabel=xlabel, levels=none, across=across
    )
    frames, figures = {"curves": lines}, {"color_space": drawn}
    own = lines[lines["subject"] == "adversarial"].set_index("defence")["accuracy"]
    each = [f"{name} {own[name]:.1f} %" for name in picked] or ["no step is allowed"]
    verdict = (
        f"right under {attack.name} {attack.budget}, best step of each space below "
        f"{asked.max_decline:g} benign points: {', '.join(each)}; no defence {own['none']:.1f} %"
    )
    return Answer(text="\n".join(text), verdict=verdict, frames=frames, figures=figures)


def best(rows: Rows, none: Rows, shown: Rows, limit: float) -> tuple[list[str], list[str]]:
    """For each space the step that defends best within the benign limit, and what it costs; names.

    Its gain is tested for as many steps and spaces as it was picked from.
    """
    under = rows[rows["subject"] == "adversarial"]
    won = compared(under, [("none", name) for name in shown["defence"].unique()], ["subject"])
    gain = won.set_index("second")
    picked = {}
    benign, attacked = (shown[shown["subject"] == s] for s in ("benign", "adversarial"))
    lost = none["n_right"].iloc[0] - benign["n_right"]
    allowed = benign[100 * lost < limit * benign["n"]]["defence"]
    without = [f"{line['subject']} {interval(line)} %" for _, line in none.iterrows()]
    out = ["undefended:", *(f"  {said}" for said in without)]
    out.append(f"best step with less than {limit:g} points of benign accuracy lost:")
    for space, own in attacked.groupby("space", sort=False):
        fair = own[own["defence"].isin(allowed)]
        if fair.empty:
            out.append(f"  {space:<10} none: every step loses more")
            continue
        line = fair.iloc[int(fair["n_right"].to_numpy().argmax())]
        picked[space] = line["defence"]
        cost = benign[benign["defence"] == line["defence"]].iloc[0]
        out.append(f"  {space:<10} step {line['step']:3d}: benign {interval(cost)} %")
        out.append(f"{'':<13}adversarial {interval(line)} %")
        out.append(f"{'':<13}over no defence: {gained(gain.loc[line['defence']])} ({test_of(won)})")
    pairs = list(itertools.combinations(picked.values(), 2))
    apart = compared(under, pairs, ["subject"]) if pairs else won.iloc[:0]
    for _, line in apart.iterrows():
        said = f"{gained(line)} ({test_of(apart)})"
        out.append(f"  {line['second']} over {line['first']}, same images: {said}")
    return out, list(picked.values())


SMOKE = "--epochs 1 --steps 30 --benign 60 --adversarial 10"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
