"""Which half of the defence helps: the table, or the colour space that it is applied in?

    python jobs/ablation.py --smoke                           # few images, short attacks
    python jobs/ablation.py --table k10-of16-af56             # photos
    python jobs/ablation.py --table k10-of16-af56 --figure    # from stored rows

Figure 5 of the defensive-table paper: JPEG's table and the searched one, each in YCbCr 4:2:0 (JPEG
itself, and JPEG with the searched table) and in RGB, against four attacks on the undefended network
(gray box) and on benign images. Gray data have no colour space; the job asks for colour.

Last answer, photos 32 px, 300 images: RGB keeps 4 benign points more and loses 7 to 9 under FGSM;
the searched table is no better than JPEG's at quality 75.
"""

from dataclasses import dataclass

from search import Job, flag, flags, later, main

with later():
    from results import (
        Answer,
        accuracies,
        bars,
        compared,
        gained,
        group_note,
        test_of,
        text_table,
        whole,
    )
    from results.words import chance
    from search import Lab, Threat, references, scores


@dataclass(frozen=True, kw_only=True)
class Asked(flags.HeldOut):
    """The study's own flags."""

    data: str = flag("photos", flags.DATA, "NAME")
    table: str = flag(flags.USUAL, flags.TABLE, "NAME")
    quality: int = flag(75, "of JPEG, beside it", "Q")
    attacks: tuple[str, ...] = flag(
        ("fgsm@2", "ifgsm@2", "deepfool", "cw:searches=5@1000000x200"), flags.ATTACK, "ATTACK"
    )


def run(lab: Lab, asked: Asked) -> Answer:
    """Two tables in two spaces, on benign images and under every attack."""
    lab.needs_colour()
    attacks = lab.attacks(asked.attacks)
    jpeg, table = f"ijg{asked.quality}", asked.table
    names = [f"jpeg{asked.quality}", f"{jpeg}@rgb", f"{table}@ycbcr420", f"{table}@rgb"]
    n_images = lab.count(report=asked.report_benign)
    victims = lab.victims(("none", *names))
    benign = lab.benign(**n_images)
    threats = [Threat("gray", attack, victims["none"]) for attack in attacks]
    gray = lab.threatened(benign, threats, block=asked.block)
    words = f"{len(victims)}-defences"
    rows = lab.score(
        scores.study("ablation", 2), victims, [benign, *gray], words, block=asked.block
    )
    said = rows["attack"].astype(str).str.cat(rows["eps_255"].map("{:g}".format), sep=" ")
    said = said.where(rows["eps_255"] < 1e6, rows["attack"].astype(str))
    rows = rows.assign(attacked=said.where(rows["threat"] != "none", "benign"))
    lines = accuracies(rows, ["defence", "attacked"])
    title, n = lab.title, lines["n"].iloc[0]
    text = [title, text_table(lines, "defence", "attacked", cell=whole)]
    pairs = {
        (names[0], names[1]): f"rgb over ycbcr420, {jpeg}",
        (names[2], names[3]): f"rgb over ycbcr420, {table}",
        (names[0], names[2]): f"{table} over {jpeg}, ycbcr420",
        (names[1], names[3]): f"{table} over {jpeg}, rgb",
    }
    won = compared(rows, list(pairs), ["attacked"])
    won["same images"] = [pairs[pair] for pair in zip(won["first"], won["second"], strict=True)]
    text.append(f"points gained [95 % interval, Tango], p ({test_of(won)}):")
    text.append(text_table(won, "same images", "attacked", cell=gained))
    text.append(f"accuracy in % of {n} held-out images [95 % interval, Wilson]; gray box")
    text.append(group_note(lines))
    text += references.bpp_text(references.bpp(lab, names, benign))
    figure = bars(lines, "attacked", "defence", title=f"{title}, gray box (n {n})")
    under = won["attacked"].iloc[-1]
    own = won[won["attacked"] == under]  # a line for each of the pairs
    gains = [f"{gain:+.1f}" for gain in own["gain"] + 0.0]
    least = min(own["group_p" if "group_p" in own else "p"])
    return Answer(
        text="\n".join(text),
        verdict=f"points gained under {under}: rgb over ycbcr420 {gains[0]} ({jpeg}), {gains[1]} "
        f"({table}); {table} over {jpeg} {gains[2]} (ycbcr420), {gains[3]} (rgb); least "
        f"{chance({'p': least})}, {test_of(won)}",
        frames={"accuracies": lines},
        figures={"ablation": figure},
    )


SMOKE = "--epochs 1 --report-benign 20 --block 20 --attacks fgsm@8 ifgsm@8x2"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
