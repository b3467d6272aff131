"""How does each network of the noise-trained chain fare on images of every quality?

    python jobs/member_matrix.py --smoke       # short training, few images
    python jobs/member_matrix.py               # bundled digits, I-FGSM eps 2/255
    python jobs/member_matrix.py --figure      # answer and draw from stored rows

Figure 6 of the defensive-table paper: M, M90 .. M30 on images at eight qualities, benign and
under I-FGSM with eps = 0.008 on M (gray box).

Last answer, digits at 8/255 and photos at 2/255: the quality of the images decides, hardly the
member.
"""

from dataclasses import dataclass, replace

from search import Job, flag, flags, later, main
from search.command_line import level

with later():
    from results import (
        Answer,
        Rows,
        accuracies,
        compared,
        gained,
        group_note,
        heat,
        test_of,
        text_table,
    )
    from results.words import from_to
    from search import Lab, scores

PLAIN = "M none"


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Tried):
    """The study's own flags."""

    sigma_255: float = flag(
        8.0, "standard deviation of the noise in training, in 1/255", "LEVEL", parse=level
    )


def run(lab: Lab, asked: Asked) -> Answer:
    """Train the chain, and try every member at every quality."""
    attack = lab.attack(asked.attack, eps_255=asked.eps_255)
    benign = lab.benign(attacked=asked.report_adversarial, report=asked.report_benign)
    tried = [benign, *lab.attacked(benign, attack, first_right=asked.report_adversarial)]
    (chain,) = lab.chains([lab.chain_cell(asked, asked.sigma_255)])
    victims = {
        f"{member.name} {at.name.replace('M', 'q') if at.table else 'none'}": lab.victim(
            members=[replace(member, table=at.table, quality=at.quality)]
        )
        for member in chain.members
        for at in chain.members
    }
    rows = lab.score(scores.study("member_matrix"), victims, tried, "matrix", block=asked.block)
    lines = accuracies(rows, ["defence", "subject"])
    lines["member"], lines["quality"] = zip(*lines["defence"].str.split(" "), strict=True)
    title = f"{lab.title}, table {asked.table} ({asked.codec}), {attack.name} {attack.budget} on M"
    text = [title]
    for subject, own in lines.groupby("subject", sort=False):
        text.append(f"{subject}, % right of {own['n'].iloc[0]}")
        text.append(
            text_table(own, "member", "quality", cell=lambda line: f"{line['accuracy']:.1f}")
        )
        text.append(best(rows[rows["subject"] == subject], own))
    text.append(group_note(lines))
    figure = heat(
        lines, "member", "quality", panel="subject", title=title, xlabel="quality of the images"
    )
    attacked = lines[lines["subject"] == "adversarial"].set_index("defence")["accuracy"]
    best_one = str(attacked.idxmax())
    name, seen = best_one.split(" ")
    right = from_to(attacked[PLAIN], attacked[best_one])
    picked = f"the best of {len(attacked)} pairs on these images"
    under = f"{attack.name} {attack.budget}, beside M; {picked}"
    return Answer(
        text="\n".join(text),
        verdict=f"{name} on images of quality {seen.removeprefix('q')}: {right} under {under}",
        frames={"matrix": lines},
        figures={"matrix": figure},
    )


def best(rows: Rows, lines: Rows) -> str:
    """What the best member and quality gain over M on images as they are."""
    names = [name for name in lines["defence"] if name != PLAIN]
    won = compared(rows, [(PLAIN, name) for name in names], ["subject"])
    line = won.sort_values("gain", ascending=False, kind="stable").iloc[0]
    said = f"best: {line['second']} over {PLAIN}, same images: {gained(line)} points"
    return f"{said} ({test_of(won)})"


JOB = Job(__file__, __doc__, Asked, run, smoke=flags.SMOKE_TRIED, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
