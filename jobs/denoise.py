"""How much do skip connections help a denoiser?

    python jobs/denoise.py --smoke
    python jobs/denoise.py                        # photos
    python jobs/denoise.py --data imagefolder:PATH --side 32 --width 16 --blocks 3 --epochs 6
    python jobs/denoise.py --figure               # from stored rows

A small ResNet takes Gaussian noise of about 20 dB out of held-out images: with the skip connections
of its blocks and the one from input to output, with either, with none; each trained several times.
Beside it total variation and non-local means, which are told how large the noise is. The networks
stay in the store; other studies of the same data know them as defences, such as
`denoiser:sigma=0.1,skips=both,run=0`.

Last answer, photos 32 px, 200 images, one epoch: 27.3 dB with both kinds of skips, 25.2 without.
"""

from dataclasses import asdict, dataclass, replace

from core.known import SKIPS, Skips
from search import Job, flag, flags, later, main
from search.command_line import between

with later():
    import pandas as pd

    from core.denoising import BASELINES
    from results import Answer, Picture, Rows, gallery
    from results import denoise as answers
    from search import Lab
    from search.inputs import denoisers
    from search.inputs.denoisers import TrainCell
    from search.inputs.making import piece_of
    from search.measures import denoised
    from search.measures.denoised import Cell

CLIPPED = (1.0, 1.1, 1.2, 1.3)  # times sigma, to find where clipped noise has 20 dB
N_SHOWN = 4
EPOCHS = 1


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Flags):
    """The study's own flags."""

    data: str = flag("photos", flags.DATA, "NAME")
    sigma: float = flag(
        0.1, "of the noise, pixels in [0, 1]", "SIGMA", parse=between(0, 1, above=True)
    )
    skips: tuple[Skips, ...] = flag(SKIPS, "connections", "NAME")
    seeds: int = flag(3, "networks of each kind")
    width: int = flag(8, "channels of the networks")
    blocks: int = flag(1, "residual blocks")
    epochs: int | None = flag(EPOCHS, "of each network")
    report_benign: int | None = flag(200, "held-out images")
    block: int = flag(200, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Train, then every way on the same noisy held-out images."""
    flags.no_classifier(asked, "--width and --blocks say how large the denoisers are")
    n = lab.count(report=asked.report_benign)["report"]
    here, sigma = lab.inputs, asked.sigma
    plain = TrainCell(
        data=here.data, side=here.side, fingerprint=here.fingerprint, seed=here.seed, sigma=sigma
    )
    networks = replace(
        plain, width=asked.width, n_blocks=asked.blocks, epochs=asked.epochs or EPOCHS
    )
    wanted = [
        replace(networks, skips=skips, run=run)
        for run in range(asked.seeds)
        for skips in asked.skips
    ]
    training = denoisers.denoiser_study(lab.source)
    made = lab.made(training, wanted, denoisers.SWEEP, label="denoisers")
    ways = [(replace(plain, sigma=factor * sigma), "noisy", "") for factor in CLIPPED]
    ways += [(plain, way, "") for way in ("not clipped", *BASELINES)]
    for cell, rows in zip(wanted, made, strict=True):
        ways.append((cell, f"skips {cell.skips}", piece_of(rows)))
    cells = [
        Cell(**asdict(cell), way=way, weights=weights, split="report", first=first,
             count=min(asked.block, n - first))
        for cell, way, weights in ways
        for first in range(0, n, asked.block)
    ]  # fmt: skip
    rows = lab.grouped(lab.sweep(denoised.study(lab.source), cells, "denoise", label="denoising"))
    title = f"{lab.images}, denoising"
    lines, apart = answers.counted(rows), answers.differences(rows, sigma)
    trained = pd.concat([epochs.to_pandas() for epochs in made])
    shown = ["noisy", *(f"skips {skips}" for skips in asked.skips)]
    drawn = gallery(
        [
            pictures(lab, rows[rows["sigma"] == sigma], i, shown)
            for i in range(min(N_SHOWN, asked.block, n))
        ],
        heads=["original", "noise", *shown],
        title=f"{title}, sigma {sigma:g}\nthe first held-out images, PSNR below",
    )
    return Answer(
        text=f"{title}\n{answers.text(lines, apart, sigma)}",
        verdict=answers.verdict(lines, apart, sigma),
        frames={"psnr": lines, "differences": apart},
        figures={"denoise": answers.figure(rows, trained, sigma, title=title),
                 "denoise_gallery": drawn},
    )  # fmt: skip


def pictures(lab: Lab, rows: Rows, image: int, shown: list[str]) -> list[Picture]:
    """One of the first images, its noise, both, and what the first network of each makes of it."""
    images, labels = lab.data.batch("report", [image])
    out = [Picture(images[0].numpy(), lab.data.classes[int(labels[0])])]
    own = answers.psnrs(rows[(rows["image"] == image) & (rows["run"] == 0)])
    for way in shown:
        line = own[own["way"] == way].iloc[0]
        seen = lab.tensors(line["piece"])["images"][image]
        if way == "noisy":
            noise = 0.5 + (seen.float() - images[0].float()) / 255
            out.append(Picture(noise.clamp(0, 1).numpy(), "gray is 0"))
        out.append(Picture(seen.numpy(), f"{line['psnr']:.1f} dB"))
    return out


SMOKE = "--data digits --seeds 1 --width 4 --blocks 1 --report-benign 20 --skips both none"
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
