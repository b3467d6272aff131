"""How often does one step towards a chosen class reach it?

    python jobs/targeted_fgsm.py --smoke
    python jobs/targeted_fgsm.py                  # digits
    python jobs/targeted_fgsm.py --data imagefolder:PATH --side 32 --shown-255 5
    python jobs/targeted_fgsm.py --figure         # from stored rows

Targeted FGSM, downhill in the loss of the target, from every held-out image towards every other
class, on the undefended network. The source shows four images of CIFAR-10 at eps 0.02 (5.1/255),
all of which succeed; how they were picked it does not say.
"""

from dataclasses import dataclass
from itertools import pairwise

from search import Job, flag, flags, later, main

with later():
    from results import Answer, Picture, Rows, gallery
    from results import targeted as answers
    from search import Lab, Pictures
    from search.measures import targeted

SOURCES = (("deer", "dog"), ("horse", "bird"), ("airplane", "automobile"), ("bird", "deer"))


@dataclass(frozen=True, kw_only=True)
class Asked(flags.HeldOut):
    """The study's own flags."""

    budgets_255: tuple[int, ...] = flag((1, 2, 5, 10, 20, 40), "of FGSM in 1/255: 1,2,5", "EPS")
    shown_255: int = flag(20, "budget of the matrix and of the pictures, in 1/255", "EPS")


def run(lab: Lab, asked: Asked) -> Answer:
    """Every held-out image towards every other class, with every budget."""
    budgets = sorted({*asked.budgets_255, asked.shown_255})
    benign = lab.benign(report=asked.report_benign)
    cells = [
        cell
        for eps in budgets
        for cell in targeted.cells(
            lab.inputs, lab.classifier, benign, float(eps), block=asked.block
        )
    ]
    rows = lab.sweep(targeted.STUDY, cells, "fgsm", label="targets")
    classes = lab.data.classes
    wanted = [pair for pair in SOURCES if {*pair} <= {*classes}]
    if not wanted:
        wanted = list(pairwise(classes))[: len(SOURCES)]
    pairs, lines = answers.counted(rows, classes)
    title, shown = f"{lab.title}, targeted FGSM", float(asked.shown_255)
    scale = max(1, min(10, int(127 / shown)))
    figures = answers.figures(pairs, lines, shown, title=title)
    drawn = gallery(
        [pictures(lab, rows[rows["eps_255"] == shown], benign, pair, scale) for pair in wanted],
        heads=["image", "perturbed", f"perturbation x {scale}"],
        title=f"{title}, eps {shown:g}/255\nof each class its first held-out image",
    )
    return Answer(
        text=f"{title}; eps in 1/255\n{answers.text(pairs, lines, shown, wanted)}",
        verdict=answers.verdict(lines, shown),
        frames={"pairs": pairs, "budgets": lines},
        figures={**figures, "targeted_gallery": drawn},
    )


def pictures(
    lab: Lab, rows: Rows, benign: Pictures, pair: tuple[str, str], scale: int
) -> list[Picture]:
    """The first image of a class, the same moved towards another, and the change, enlarged."""
    classes = lab.data.classes
    source, goal = map(classes.index, pair)
    own = rows[(rows["label"] == source) & (rows["target"] == goal)].sort_values("image")
    line = own.iloc[0]
    in_cell = rows[rows["cell_id"] == line["cell_id"]]
    place = int(((in_cell["image"] == line["image"]) & (in_cell["target"] == goal)).argmax())
    after = lab.tensors(line["piece"])["images"][place]
    pieces = [lab.tensors(piece.name) for piece in benign.pieces]
    before = next(
        p["images"][p["ids"] == line["image"]][0] for p in pieces if line["image"] in p["ids"]
    )
    change = (after.float() - before.float()) / 255
    said = [
        f"{classes[line[when]]}; p({pair[1]}) {line[f'p_{when}']:.2f}"
        for when in ("before", "after")
    ]
    return [
        Picture(before.numpy(), said[0]),
        Picture(after.numpy(), said[1]),
        Picture((0.5 + scale * change).clamp(0, 1).numpy(), f"towards {pair[1]}"),
    ]


SMOKE = "--epochs 2 --budgets-255 32 --shown-255 32 --report-benign 40 --block 40"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
