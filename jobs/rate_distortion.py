r"""How much picture does a bit buy: learned codecs against JPEG and the searched tables?

    python jobs/rate_distortion.py --smoke
    python jobs/rate_distortion.py                     # photos, three lambdas, 2 minutes on 2 cores
    python jobs/rate_distortion.py --data imagefolder:PATH --side 32 --filters 128 \
        --lambdas 0.001,0.003,0.005,0.012,0.033,0.05,0.1 --epochs 40 --warm
    python jobs/rate_distortion.py --data photos --side 64 --kind bmhj
    python jobs/rate_distortion.py --figure            # from stored rows

Autoencoders of Balle et al. (2017: bls; 2018, with a scale hyperprior: bmhj) are trained for each
lambda: bits per pixel + lambda * squared error of levels. Every image is coded to a string of its
own and decoded again. JPEG is counted in two readings: its scan, and all that follows the marker
of the scan, 16 bytes more, which are the rates that the thesis prints.

The codecs stay in the store; other studies of the same data know them as `bls:lambda=0.012`.

Last answer, photos 32 px, 200 images, 32 filters, 3 epochs: 0.134 bpp for 21.7 dB, JPEG takes
0.292; at 0.46 bpp JPEG is 0.9 dB ahead.
"""

from dataclasses import dataclass, replace
from typing import Literal

from core.errors import InputError
from core.known import CODEC_LEARNING_RATE
from search import Job, flag, flags, later, main
from search.command_line import many, positive, whole_numbers

with later():
    import pandas as pd

    from core.codec import rate
    from core.learned import KINDS
    from core.training.learned import BATCH_SIZE
    from results import Answer, Picture, Rows, compression, gallery, schema
    from search import Lab
    from search.inputs.codecs import CodecCell, name_of
    from search.inputs.making import piece_of
    from search.measures import compressed
    from search.measures.compressed import Cell

N_SHOWN = 2
EPOCHS = 2


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Flags):
    """The study's own flags."""

    data: str = flag("photos", flags.DATA, "NAME")
    kind: Literal["bls", "bmhj"] = flag("bls", "learned codec; bmhj pads to sides of 64")
    lambdas: tuple[float, ...] = flag(
        (0.001, 0.005, 0.033), "a codec for each", "L", parse=many(positive)
    )
    filters: int = flag(32, "channels of its layers; the authors' is 128")
    epochs: int | None = flag(EPOCHS, "of each codec")
    learning_rate: float = flag(
        CODEC_LEARNING_RATE, "Adam's largest; the authors' is 1e-4", "RATE", parse=positive
    )
    warm: bool = flag(False, "begin each codec as that of the next larger lambda ended")
    qualities: tuple[int, ...] = flag(
        (1, 5, 10, 20, 40, 60, 80), "of JPEG", "Q", parse=whole_numbers(1, 100)
    )
    tables: tuple[str, ...] = flag(
        ("k10-of16-af56", "k10-of16-af56@ycbcr420"), "further codecs, by name", "NAME"
    )
    split: Literal["train", "search", "report"] = flag("report", "of the images that are coded")
    images: int = flag(200, "of that split")
    block: int = flag(100, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Train, then every codec on the same images."""
    flags.no_classifier(asked, "--filters says how large the codecs are")
    n, here = asked.images, lab.inputs
    if n > lab.data.size(asked.split):
        raise InputError(
            f"expected at most the {lab.data.size(asked.split)} images of the {asked.split} split, "
            f"got --images {n}.\nHint: fewer, or another --split."
        )
    fixed = [f"jpeg{q}{sampling}" for sampling in ("", "-444") for q in asked.qualities]
    if lab.data.channels == 1:
        fixed = [name for name in fixed if "-444" not in name]  # one channel has no sampling
    fixed += asked.tables
    for name in fixed:
        rate.bits_of(name, lab.data.batch(asked.split, [0])[0])  # refuses what is no codec
    trained = codecs(lab, asked)
    pieces = {name: piece_of(rows) for name, rows in trained.items()} | dict.fromkeys(fixed, "")
    plain = Cell(
        data=here.data, side=here.side, fingerprint=here.fingerprint,
        codec="", weights="", split=asked.split, first=0, count=0,
    )  # fmt: skip
    cells = [
        replace(plain, codec=name, weights=piece, first=first, count=min(asked.block, n - first))
        for name, piece in pieces.items()
        for first in range(0, n, asked.block)
    ]
    rows = lab.sweep(compressed.study(lab.source), cells, asked.kind, label="images coded")
    lines = compression.counted(rows)
    first, against = asked.kind.upper(), ["JPEG 4:2:0", "JPEG 4:4:4"][: lab.data.channels]
    gains = pd.DataFrame(
        compression.saved(lab.grouped(rows), first, second, reading)
        for second in against
        for reading in (compression.SCAN, compression.MARKED)
    )
    minutes = {
        name: float(schema.column(own, "epoch_wall_s").sum()) / 60 for name, own in trained.items()
    }
    nearest = compression.nearest(lines, first, against[0])
    title = f"{lab.images}, {n} images of {asked.split}"
    drawn = gallery(
        shown(lab, rows, asked.split, nearest),
        heads=["", *(f"{lines['bpp'][lines['codec'] == name].item():.2f} bpp" for name in nearest)],
        title=f"{title}\nthe first ones, {first} above the JPEG of the nearest mean rate",
    )
    head = f"{title}; {asked.filters} filters, {asked.epochs or EPOCHS} epochs"
    if beyond := -here.side % KINDS[asked.kind].multiple:
        head += f"\n{first} sees images padded to {here.side + beyond} px by their edge"
    said = compression.text(lines, gains, minutes, asked.kind)
    return Answer(
        text=f"{head}\n{said}",
        verdict=compression.verdict(gains),
        frames={"rates": lines, "saved": gains},
        figures={
            "rate_distortion": compression.figure(lines, title=title),
            "rate_distortion_gallery": drawn,
        },
    )


def codecs(lab: Lab, asked: Asked) -> dict[str, schema.Table]:
    """The rows of each codec's training, in order of lambda."""
    here = lab.inputs
    cells = [
        CodecCell(
            data=here.data, side=here.side, fingerprint=here.fingerprint, seed=here.seed,
            kind=asked.kind, distortion_weight=distortion_weight, filters=asked.filters,
            epochs=asked.epochs or EPOCHS, learning_rate=asked.learning_rate,
            batch_size=BATCH_SIZE, start="",
        )
        for distortion_weight in asked.lambdas
    ]  # fmt: skip
    if len({*map(name_of, cells)}) < len(cells):
        raise InputError(
            f"expected lambdas that differ in their first six digits, got {asked.lambdas}.\n"
            "Hint: codecs are called by them, as in bls:lambda=0.012."
        )
    if not asked.warm:
        return dict(zip(map(name_of, cells), lab.codecs(cells), strict=True))
    made, start = {}, ""
    for cell in reversed(cells):
        (made[name_of(cell)],) = lab.codecs([replace(cell, start=start)])
        start = piece_of(made[name_of(cell)])
    return dict(reversed(made.items()))


def shown(lab: Lab, rows: Rows, split: str, nearest: dict[str, str]) -> list[list[Picture]]:
    """The first images: as they are and behind each learned codec, then behind its like in JPEG."""
    own = compression.measured(rows[rows["image"] < N_SHOWN])
    found = {(str(line["codec"]), line["image"]): line for _, line in own.iterrows()}

    def picture(name: str, image: int) -> Picture:
        line = found[name, image]
        seen = lab.tensors(line["piece"])["images"][image]
        return Picture(seen.numpy(), f"{name}\n{line['bpp']:.2f} bpp, {line['psnr']:.1f} dB")

    return [
        [Picture(lab.data.batch(split, [image])[0][0].numpy(), "original")]
        + [picture(name, image) for name in names]
        for image in range(min(N_SHOWN, own["image"].nunique()))
        for names in (nearest, nearest.values())
    ]


SMOKE = (
    "--data digits --lambdas 0.001,0.1 --filters 4 --epochs 1 --qualities 10,80 --images 20 "
    "--block 20"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
