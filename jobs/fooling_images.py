"""What does an image look like that a network is sure of, and how near to another digit is it?

    python jobs/fooling_images.py --smoke
    python jobs/fooling_images.py                 # digits
    python jobs/fooling_images.py --data mnist --data-root DIR
    python jobs/fooling_images.py --figure        # from stored rows

Gradient ascent from noise in the logit of each class; and, for every pair of classes, in the logit
of one less beta times the mean squared distance from an image of the other. Rounded to 8 bits, and
shown to another network too. Beside the plain network one that was trained adversarially.
"""

from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from search import Job, flag, flags, later, main
from search.command_line import level, positive, whole_numbers

with later():
    import numpy as np

    from core.models import needs_training
    from results import Answer, Picture, Rows, fooling, gallery
    from search import Lab, Pictures
    from search.measures import fooling as made

PLAIN = "plain"


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Flags):
    """The study's own flags."""

    model: str = flag("mnist_cnn", "that images are made for", "NAME")
    betas: tuple[int, ...] = flag(
        (10, 100, 200, 400, 800, 1600),
        "weights of the distance, such as 10,100",
        "BETA",
        parse=whole_numbers(1),
    )
    starts: int = flag(3, "noise images that each class is climbed from")
    steps: int = flag(60, "of the ascent")
    step: float = flag(0.5, "along the logit's gradient", "LENGTH", parse=positive)
    fast_eps_255: float = flag(
        16.0, "of the adversarially trained network, in 1/255", "EPS", parse=level
    )
    report_benign: int | None = flag(100, "held-out images, of which each class's first is used")


def run(lab: Lab, asked: Asked) -> Answer:
    """Images of both networks."""
    if not needs_training(asked.model):
        raise InputError(
            f"this study trains {asked.model!r} adversarially, but it comes with its weights.\n"
            "Hint: a network that is trained here, such as --model mnist_cnn."
        )
    benign = lab.benign(report=asked.report_benign)
    (fast,) = lab.trained([f"fast:eps={asked.fast_eps_255:g}"], epochs=asked.epochs)
    networks = {PLAIN: lab.classifier, f"fast eps {asked.fast_eps_255:g}": fast.weights}
    judge = lab.classifier_of(lab.surrogate(None), label="judge")
    cells = made.cells(
        lab.inputs,
        networks,
        judge,
        benign,
        betas=asked.betas,
        n_starts=asked.starts,
        n_steps=asked.steps,
        step=asked.step,
    )
    rows = lab.sweep(made.STUDY, list(cells), "images", label="images for a class")
    places = rows.groupby("cell_id", observed=True).cumcount()
    rows = rows.assign(place=places)
    lines, near = fooling.counted(rows), fooling.nearest(rows)
    title = f"{lab.title}; {asked.steps} steps of {asked.step:g}"
    classes = lab.data.classes
    first = rows[(rows["source"] < 0) & (rows["start"] == 0)].sort_values("target")
    free = {name: first[first["network"] == name] for name in networks}
    drawn = [[picture(lab, line, classes) for _, line in own.iterrows()] for own in free.values()]
    curves = {
        name: [lab.tensors(at["piece"])["logits"][at["place"]].numpy() for _, at in own.iterrows()]
        for name, own in free.items()
    }
    figures = {
        "fooling_images": gallery(
            drawn, heads=classes, title=f"{title}; made for each class", sides=list(networks)
        ),
        "fooling_images_logits": fooling.logits(curves, title=f"{title}; one start"),
        "fooling_images_targeted": gallery(
            pairs(lab, near[near["network"] == PLAIN], benign),
            heads=[f"to {name}" for name in classes],
            title=f"{title}; of each class its first held-out image, and the nearest to it that "
            "reaches each target (gray: none)",
            inches=1.0,
        ),
    }
    text = f"{title}\n{fooling.text(rows, lines, near)}"
    return Answer(
        text=text,
        verdict=fooling.verdict(rows, lines, near),
        frames={"images": lines, "nearest": near},
        figures=figures,
    )


def picture(lab: Lab, line: Any, classes: tuple[str, ...]) -> Picture:
    """One image of a row."""
    image = lab.tensors(line["piece"])["images"][line["place"]].numpy()
    return Picture(image, f"p {line['p']:.2f}; other: {classes[line['judged']]}")


def pairs(lab: Lab, near: Rows, benign: Pictures) -> list[list[Picture]]:
    """A row for each source, its own image where the target is its own class."""
    shown = []
    for source, piece, place in benign.firsts():
        own = lab.tensors(piece.name)["images"][place].numpy()
        line = [Picture(np.full_like(own, 96)) for _ in lab.data.classes]
        line[source] = Picture(own, "image")
        for _, at in near[near["source"] == source].iterrows():
            image = lab.tensors(at["piece"])["images"][at["place"]].numpy()
            line[at["target"]] = Picture(image, f"{at['psnr_db']:.0f} dB, p {at['p']:.2f}")
        shown.append(line)
    return shown


SMOKE = (
    "--epochs 1 --fast-eps-255 4 --betas 10,1000 --starts 1 --steps 20 --step 1 --report-benign 40"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
