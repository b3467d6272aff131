"""Is there one perturbation that fools the network on most images, and does JPEG wash it out?

    python jobs/universal.py --smoke
    python jobs/universal.py                      # digits
    python jobs/universal.py --data imagefolder:PATH --side 32 --xi-255 2,4,8,12
    python jobs/universal.py --figure             # from stored rows

Moosavi-Dezfooli's universal perturbation, with DeepFool inside, made from images of one split and
added to held-out ones; a random perturbation of the same size beside it. "Fooled": the predicted
class changes; "wrong": it is not the label. The attacker knows the network alone (gray box), or the
defences of --through too. --on tries the same changes on other networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.errors import InputError
from search import Job, flag, flags, later, main
from search.command_line import between

with later():
    import pandas as pd
    import torch

    from results import Answer, Picture, Rows, gallery
    from results import universal as answers
    from search import Lab, Pictures
    from search.inputs.loading import Victim
    from search.inputs.making import piece_of
    from search.measures import universal
    from search.measures.universal import Cell, MakeCell

N_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Flags):
    """The study's own flags."""

    xi_255: tuple[float, ...] = flag((16.0, 32.0, 64.0), "sizes in 1/255, such as 8,16", "XI")
    norm: Literal["linf", "l2"] = flag("linf", "that sizes are measured in")
    benign: tuple[int, ...] = flag((25, 100, 200), "images it is made from, such as 25,100", "N")
    together: tuple[int, ...] = flag((32,), "images moved at a time; 1: the source's loop", "N")
    delta: float = flag(
        0.2, "go on until more than a share 1 - delta is fooled", "SHARE", parse=between(0, 1)
    )
    passes: int = flag(3, "over the images, at most")
    defences: tuple[str, ...] = flag(("none", "jpeg75"), "before which it is tried", "NAME")
    through: tuple[str, ...] = flag((), "defences that it is made through as well", "NAME")
    on: tuple[str, ...] = flag(
        (),
        "networks that it is tried on too, as for --model; that of --model: from another seed",
        "NAME",
    )
    report_benign: int | None = flag(300, "held-out images")
    block: int = flag(300, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Each size on most images, the middle size on fewer; all on both splits."""
    if not asked.defences:
        raise InputError(
            "expected --defences before which a change is tried, got none of them.\n"
            "Hint: --defences none is the network alone."
        )
    fronts = {lab.front(name): name for name in asked.through if name != "none"}
    random = [name for front, name in fronts.items() if lab.defence(front).randomised]
    if random:
        raise InputError(
            f"--through {random[0]}: one change is made through a defence that does the same each "
            "time.\nHint: jpeg75, or a table such as k10-of16-af56."
        )
    found = {name: lab.surrogate(name) for name in asked.on}
    victims = lab.victims(asked.defences)
    held_out = lab.benign(report=asked.report_benign)
    sources = {n: lab.benign(search=n) for n in asked.benign}
    most, middle = max(sources), asked.xi_255[len(asked.xi_255) // 2]
    wanted = [
        MakeCell(
            **lab.inputs.fields(),
            weights=lab.classifier,
            images=tuple(piece.name for piece in sources[n].pieces),
            n_images=n,
            n_together=together,
            norm=asked.norm,
            xi_255=xi,
            delta=asked.delta,
            n_passes=asked.passes,
        )
        for xi in asked.xi_255
        for n in sources
        if n == most or xi == middle
        for together in (*asked.together, 0)
    ]
    makings = lab.made(universal.MADE, wanted, "universal", label="universal perturbations")
    made = [*zip(wanted, map(piece_of, makings), strict=True)]
    behind = [
        universal.ThroughCell(**vars(want), front=front)
        for want in wanted
        for front in fronts
        if want.n_together and want.n_images == most
    ]
    through: list[tuple[universal.ThroughCell, str]] = []
    if behind:
        makings = lab.made(universal.THROUGH, behind, "universal", label="made through defences")
        through = [*zip(behind, map(piece_of, makings), strict=True)]
    others = {
        f"on {name}": lab.network(lab.classifier_of(other, label=f"network {name}"))
        for name, other in found.items()
    }
    plain = cells(made, victims, sources, held_out, asked.block)
    rows = lab.sweep(universal.STUDY, plain, "universal", asked.norm, label="scores")
    more = cells(through, victims, sources, held_out, asked.block)
    more += cells([*made, *through], others, sources, held_out, asked.block)
    if more:
        words = ("universal", asked.norm, "more")
        rows = pd.concat([rows, lab.sweep(universal.STUDY, more, *words, label="more scores")])
    names = {piece: fronts[cell.front] for cell, piece in through}
    rows["through"] = [names.get(change, "") for change in rows["change"].astype(str)]
    lines = answers.counted(rows)
    title = f"{lab.title}; one change for all images, {asked.norm}"
    shown = next(c for c in plain if (c.xi_255, c.n_images) == (middle, most))
    drawn = gallery(
        pictures(lab, rows, shown, held_out),
        heads=["change", *(f"image {i}" for i in range(N_SHOWN))],
        title=f"{title}, xi {middle:g}/255, made from {most} images\n"
        "the first held-out images, as they are and with the change",
    )
    figures = answers.figures(lines, xi_255=middle, n_images=most, title=title)
    return Answer(
        text=f"{title}; xi in 1/255\n{answers.text(lines)}",
        verdict=answers.verdict(lines),
        frames={"shares": lines},
        figures={**figures, "universal_gallery": drawn},
    )


def cells(
    changes: Sequence[tuple[MakeCell, str]],
    victims: Mapping[str, Victim],
    sources: Mapping[int, Pictures],
    held_out: Pictures,
    block: int,
) -> list[Cell]:
    """Every victim before the images that a change is made from, and before held-out ones."""
    return [
        cell
        for made, change in changes
        for cell in universal.cells(
            made, change, victims, [sources[made.n_images], held_out], block=block
        )
    ]


def pictures(lab: Lab, rows: Rows, cell: Cell, held_out: Pictures) -> list[list[Picture]]:
    """The change, and the first held-out images without and with it."""
    own = rows[(rows["change"] == cell.change) & (rows["defence"] == cell.defence)]
    own = own[own["split"] == "report"].drop_duplicates("image").sort_values("image")
    change = lab.tensors(cell.change)["change"]
    scale = max(1, int(0.5 / float(change.abs().max().clamp_min(1 / 255))))
    gray = torch.full_like(change[0], 0.5)
    shown = [[Picture(gray.numpy(), "none")]]
    shown.append([Picture((gray + scale * change[0]).numpy(), f"x {scale}, gray is 0")])
    pieces = [lab.tensors(piece.name) for piece in held_out.pieces]
    for _, line in own.head(N_SHOWN).iterrows():
        piece = next(p for p in pieces if line["image"] in p["ids"])
        image = piece["images"][piece["ids"] == line["image"]]
        changed = universal.with_change(image, change, xi_255=cell.xi_255, norm=cell.norm)
        for row, seen, what in zip(shown, (image, changed), ("clean", "perturbed"), strict=True):
            name = lab.data.classes[line[what]]
            row.append(Picture(seen[0].numpy(), f"seen as {name}"))
    return shown


SMOKE = (
    "--epochs 2 --xi-255 32 --benign 40 --passes 1 --report-benign 40 --defences none "
    "--through jpeg75"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
