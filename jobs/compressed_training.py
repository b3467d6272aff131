r"""What does a classifier lose when it is trained on compressed images, and can it be smaller?

    python jobs/compressed_training.py --smoke
    python jobs/compressed_training.py                # photos, two thin networks
    python jobs/compressed_training.py --data cifar10 --networks vgg11_small resnet18_small \
        --sets none jpeg1 jpeg5 jpeg10 jpeg20 jpeg40 jpeg60 --epochs 30 --batch 128 --runs 3
    python jobs/compressed_training.py --figure       # from stored rows

Every network is trained on every set of training images and tested on held-out images as they are,
or after the same transform (`--test same`, the source's figure 3.6). Accuracy over rate, PSNR and
SSIM of the training images; mean and range of runs, differences from originals on the same images,
and beside them the best epoch picked on the test images, as the source does.
"""

from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from search import Job, flag, flags, later, main

with later():
    import pandas as pd

    from core.models import architecture, parse_spec
    from results import Answer, compressed
    from results import compressed_picture as picture
    from results.robust import ORIGINAL
    from search import Lab
    from search.measures import augmented
    from search.measures.transformed import Sources
    from search.transforming import images_after, trained_on, training_images


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Augmented):
    """The study's own flags."""

    data: str = flag("photos", flags.DATA, "NAME")
    networks: tuple[str, ...] = flag(("vgg11_5", "vgg11_4"), "the largest first", "NAME")
    sets: tuple[str, ...] = flag(
        ("none", "jpeg5", "jpeg10", "jpeg20", "jpeg60"),
        "training images: none, jpeg40, blur3, ...",
        "NAME",
    )
    test: Literal["original", "same", "both"] = flag(
        "both", "held-out images as they are, or after the transform of training, or both"
    )
    report_benign: int | None = flag(None, "held-out images of paired tests; 1000 or all")
    block: int = flag(500, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Train, test, compare."""
    flags.no_classifier(asked, "--networks says what is trained")
    data = lab.data
    shape = {"n_classes": len(data.classes), "channels": data.channels, "side": data.side}
    augmented.check(asked.networks, asked.sets)
    weights = {}
    for name in asked.networks:
        network = architecture(parse_spec(name).name, **shape)
        weights[name] = sum(weight.numel() for weight in network.parameters())
    if ORIGINAL not in asked.sets:
        raise InputError(
            f"expected none among --sets, to compare with, got {' '.join(asked.sets)}.\n"
            "Hint: --sets none jpeg20."
        )
    n = lab.count(report=asked.report_benign)["report"]
    images = training_images(lab, asked.sets, same=asked.test != "original")
    trained = trained_on(lab, asked.networks, asked.sets, images, asked)
    shown = images_after(lab, Sources(), [(ORIGINAL, "report", n)], block=1000)
    cells = list(augmented.cells(trained, shown, block=asked.block))
    rows = lab.grouped(
        lab.sweep(augmented.study("compressed_training"), cells, *asked.networks, label="scores")
    )
    epochs = pd.concat([found.to_pandas() for found in trained.values()])
    lines, fives = (compressed.counted(epochs, top=top) for top in compressed.TOPS)
    seen = [made.to_pandas() for cell, made in images.items() if cell.split == "train"]
    measured = compressed.quality(pd.concat(seen)) if seen else pd.DataFrame()
    gains = compressed.gains(rows, asked.networks, asked.sets)
    title = f"{lab.images}, {epochs['epoch'].max()} epochs"
    figures = {
        f"compressed_networks_{test}": picture.over_networks(lines, weights, test=test, title=title)
        for test in ("original", "same")
        if asked.test in (test, "both") and len(asked.networks) > 1
    }
    if not measured.empty:
        figures["compressed_training"] = picture.over_quality(lines, measured, title=title)
    sizes = ", ".join(f"{name} {n_weights:,}" for name, n_weights in weights.items())
    return Answer(
        text=f"{title}; weights: {sizes}\n{compressed.text(lines, fives, measured, gains)}",
        verdict=compressed.verdict(lines, gains, asked.test),
        frames={"accuracies": lines, "top5": fives, "quality": measured, "gains": gains},
        figures=figures,
    )


SMOKE = "--data digits --networks lenet5 --epochs 1 --sets none jpeg5 jpeg50 --report-benign 40"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
