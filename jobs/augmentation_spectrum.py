"""Which frequencies does a compressed, noisy or blurred training image keep?

    python jobs/augmentation_spectrum.py --smoke
    python jobs/augmentation_spectrum.py                  # photos
    python jobs/augmentation_spectrum.py --data cifar10 --sets none jpeg80 noise0.01 blur3
    python jobs/augmentation_spectrum.py --figure         # from stored rows

The mean over training images of log(1 + |DFT|) of their luma (BT.601, levels 0..255) after each
transform, divided by its largest value: maps, means over bands of frequency.
"""

from dataclasses import dataclass

from core.errors import InputError
from search import Job, flag, flags, later, main

with later():
    from core.transforms import check_transform
    from results import Answer, spectrum
    from search import Lab
    from search.measures import spectrum as measure
    from search.measures.transformed import Sources
    from search.transforming import transform_cells


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Flags):
    """The study's own flags."""

    data: str = flag("photos", flags.DATA, "NAME")
    sets: tuple[str, ...] = flag(
        ("none", "jpeg5", "jpeg80", "noise0.01", "noise0.1", "blur3", "blur9"), "transforms", "NAME"
    )
    images: int | None = flag(None, "training images; all of them unless given")
    block: int = flag(1000, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Transform, and sum spectra."""
    flags.no_classifier(asked, "nothing is trained")
    if not asked.sets:
        raise InputError(
            "expected --sets to transform by, got none.\nHint: --sets none jpeg5 blur3."
        )
    for name in asked.sets:
        check_transform(name, channels=lab.data.channels, frost=False)
    size = lab.data.size("train")
    n = size if asked.images is None else asked.images
    if not 0 < n <= size:
        raise InputError(
            f"--images must lie in 1..{size}, the training images of {lab.inputs.data}, got {n}.\n"
            "Hint: leave it out for all."
        )
    cells = transform_cells(
        lab, Sources(), [(name, "train", n) for name in asked.sets], block=asked.block
    )
    rows = lab.sweep(measure.study(lab.source), cells, "spectrum", label="spectra")
    lines = spectrum.means(rows, asked.sets)
    title = f"{lab.images}, spectra of {n:,} training images"
    return Answer(
        text=f"{title}\n{spectrum.text(lines)}",
        verdict=spectrum.verdict(lines),
        frames={"spectrum": lines, "bands": spectrum.bands(lines)},
        figures={"augmentation_spectrum": spectrum.figure(lines, title=title)},
    )


SMOKE = "--data digits --images 40 --block 20 --sets none blur3"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
