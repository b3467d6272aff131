"""What does noise-training on compressed images give the networks M90 .. M30, over M?

    python jobs/train_chain.py --smoke                     # one member epoch each, on this machine
    python jobs/train_chain.py --sigma-255 0,4,8,16        # four chains on bundled digits
    python jobs/train_chain.py --sigma-255 0,4,8,16 --figure    # answer and draw from stored rows

Section 3.4 of the defensive-table paper: seven networks, each fine-tuned from its predecessor on
images as they are and on noisy images at its own quality. Every member is then tried on held-out
images at its own quality, benign and attacked (gray box: the attack knows M alone).

Last answer, I-FGSM 2/255: digits show nothing; on photos accuracy under attack rises as quality
falls (44.5 % for M, 56.5 % for M30), at a benign price, whatever the noise.
"""

from dataclasses import dataclass

from search import Job, flag, flags, later, main

with later():
    from results import Answer, Rows, accuracies, curves, text_table
    from results.words import from_to, price
    from search import Lab, scores


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Tried):
    """The study's own flags."""

    sigma_255: tuple[float, ...] = flag(
        (4.0, 8.0, 16.0), "standard deviations of the noise, in 1/255, such as 0,4,8", "LEVELS"
    )


def run(lab: Lab, asked: Asked) -> Answer:
    """Train a chain for each noise level, and try every member at its own quality."""
    attack = lab.attack(asked.attack, eps_255=asked.eps_255)
    benign = lab.benign(attacked=asked.report_adversarial, report=asked.report_benign)
    tried = [benign, *lab.attacked(benign, attack, first_right=asked.report_adversarial)]
    cells = [lab.chain_cell(asked, sigma) for sigma in asked.sigma_255]
    victims, at = {}, {}
    for cell, chain in zip(cells, lab.chains(cells), strict=True):
        for member in chain.members:
            name = f"{member.name} sigma {cell.sigma_255:g}"
            victims[name], at[name] = lab.victim(members=[member]), (cell.sigma_255, member.name)
    rows = lab.score(scores.study("train_chain"), victims, tried, "chain", block=asked.block)
    lines = accuracies(rows, ["defence", "subject"])
    lines["noise sigma"], lines["member"] = zip(
        *((f"{at[d][0]:g}/255", at[d][1]) for d in lines["defence"]), strict=True
    )
    title = f"{lab.title}, table {asked.table} ({asked.codec}), {attack.name} {attack.budget} on M"
    text = [title]
    for sigma, chain_lines in lines.groupby("noise sigma", sort=False):
        counts = chain_lines.drop_duplicates("subject")[["n", "subject"]].to_numpy()
        text.append(f"noise sigma {sigma}, % right of " + ", ".join(f"{n} {s}" for n, s in counts))
        text.append(text_table(chain_lines, "member", "subject"))
    label = "member, on images at its own quality"
    return Answer(
        text="\n".join(text),
        verdict=verdict(lines, f"{attack.name} {attack.budget}"),
        frames={"members": lines},
        figures={
            "chain": curves(lines, "member", "noise sigma", "subject", title=title, xlabel=label)
        },
    )


def verdict(lines: Rows, under: str) -> str:
    """The member that defends best, beside M, and its price."""
    told = lines.set_index(["subject", "defence"])
    accuracy = told["accuracy"]
    first, best = lines["defence"].iloc[0], str(accuracy["adversarial"].idxmax())
    right = from_to(*(accuracy["adversarial"][name] for name in (first, best)))
    cost = price(accuracy["benign"][first] - accuracy["benign"][best])
    n = lines["defence"].nunique()
    return f"{best}/255: {right} under {under} {cost}, beside M; the best of {n} on these images"


SMOKE = f"{flags.SMOKE_TRIED} --sigma-255 8"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
