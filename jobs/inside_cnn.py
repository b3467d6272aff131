"""What do the layers of a small network answer to, does it look at the digit, does norm help it?

    python jobs/inside_cnn.py --smoke
    python jobs/inside_cnn.py                     # digits
    python jobs/inside_cnn.py --data mnist --data-root DIR
    python jobs/inside_cnn.py --figure            # from stored rows

Layers, weights and units, from the network itself; training with batch norm and without, by one
schedule and from many seeds; filters, activations, occlusion maps of the network of `--model`; and
how much of an occlusion's drop lies on ink, also behind a codec and for an adversarially trained
network. The source's patch is not given; one of the ground's level sees nothing but ink, whatever
the network does, so a gray one stands beside it.
"""

from dataclasses import dataclass

from core.errors import InputError
from search import Job, flag, flags, later, main
from search.command_line import between, level

with later():
    import numpy as np

    from core import training
    from core.models import architecture
    from core.models.layers import layers
    from results import Answer, Picture, Rows, gallery, inside
    from search import Lab, Pictures
    from search.measures import activations, curves, occlusion

GRAY = 128.0
N_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Flags):
    """The study's own flags."""

    model: str = flag("mnist_cnn", "that is looked into: mnist_cnn or mnist_cnn_bn", "NAME")
    epochs: int | None = flag(8, "of each training")
    runs: int = flag(3, "trainings of each network", parse=between(3, 1000, int))
    patch: int = flag(7, "side of the patch, in pixels", "PX")
    stride: int = flag(4, "from place to place", "PX")
    fills_255: tuple[float, ...] = flag((0.0, GRAY), "levels of the patch, such as 0,128", "LEVELS")
    defences: tuple[str, ...] = flag(("none", "jpeg10"), "before the network", "NAME")
    fast_eps_255: float = flag(
        16.0, "of the adversarially trained network, in 1/255", "EPS", parse=level
    )
    digit: int = flag(8, "class whose first image is shown inside", parse=between(0, 999, int))
    report_benign: int | None = flag(200, "held-out images under the patch")
    block: int = flag(50, "images per cell")


def run(lab: Lab, asked: Asked) -> Answer:
    """Train many, look into one."""
    if asked.model not in inside.NETWORKS:
        raise InputError(
            f"this study looks into {' or '.join(inside.NETWORKS)}, got {asked.model!r}.\n"
            "Hint: leave --model out."
        )
    if asked.digit not in range(len(lab.data.classes)):
        raise InputError(
            f"--digit must be one of the classes 0..{len(lab.data.classes) - 1}, got "
            f"{asked.digit}.\nHint: --digit 8."
        )
    occlusion.check(lab.data, asked.defences, patch=asked.patch, stride=asked.stride)
    benign = lab.benign(report=asked.report_benign)
    victims = lab.victims(asked.defences)
    (fast,) = lab.trained([f"fast:eps={asked.fast_eps_255:g}"], epochs=asked.epochs)
    victims[f"fast eps {asked.fast_eps_255:g}"] = lab.network(fast.weights)
    # One schedule for both: that of the network without norm, which diverges by the usual one.
    usual = training.usual("mnist_cnn")
    epochs = asked.epochs or training.default_epochs(asked.data, "mnist_cnn")
    trained = curves.cells(lab.inputs, inside.NETWORKS, usual, n_runs=asked.runs, epochs=epochs)
    rows = lab.sweep(curves.study(lab.source), list(trained), "trained", label="trainings")
    looks = list(
        occlusion.cells(
            lab.inputs,
            victims,
            benign,
            patch=asked.patch,
            stride=asked.stride,
            fills_255=asked.fills_255,
            block=asked.block,
        )
    )
    seen = lab.sweep(occlusion.STUDY, looks, "occlusion", label="occlusion maps")
    inner_cells = list(activations.cells(lab.inputs, lab.classifier, benign))
    answers = lab.sweep(activations.STUDY, inner_cells, "activations", label="activations")
    shape = {"channels": lab.data.channels, "side": lab.data.side}
    network = architecture(asked.model, n_classes=len(lab.data.classes), **shape)
    patched = [(name, fill) for name in victims for fill in asked.fills_255]
    each, looked = inside.runs(rows), inside.looked(seen, patched)
    lines, gains = inside.compared_runs(each)
    title = f"{lab.title}; {epochs} epochs"
    fired = [f"layer {i}: {n} of {m}" for i, (n, m) in enumerate(inside.responding(answers), 1)]
    text = [
        title,
        inside.layers_text(layers(network, **shape)),
        inside.runs_text(each, lines, gains),
        f"channels that answer to some of {len(inner_cells)} images: {', '.join(fired)}",
        f"occlusion by {asked.patch} px, every {asked.stride} px",
        inside.looked_text(looked),
    ]
    firsts = answers.drop_duplicates("image").sort_values("label")
    pictures = [image_of(lab, benign, image) for image in firsts["image"]]
    own = firsts.iloc[max(0, int((firsts["label"] == asked.digit).argmax()))]
    tensors, inner = lab.tensors(lab.classifier), lab.tensors(own["piece"])
    drawn = [[Picture(picture) for picture in pictures]]
    seen_as = predictions(lab, benign)
    for name, fill in patched:
        line = seen[(seen["defence"] == name) & (seen["fill_255"] == fill)].set_index("image")
        drawn.append(maps(lab, seen, line.loc[firsts["image"]].reset_index()))
    return Answer(
        text="\n".join(text),
        verdict=inside.verdict(gains, looked),
        frames={"trainings": each, "gains": gains, "occlusion": looked},
        figures={
            "inside_cnn_predictions": gallery(
                seen_as,
                heads=[""] * len(seen_as[0]),
                title=f"{title}\nthe first held-out images, their class and the network's",
            ),
            "inside_cnn_curves": inside.curves_figure(rows, title=title),
            "inside_cnn_filters": inside.filters(
                [tensors[f"backbone.convolutions.{i}.weight"].numpy() for i in (0, 1)], title=title
            ),
            "inside_cnn_activations": inside.activations(
                image_of(lab, benign, own["image"]),
                [inner[name].numpy() for name in ("layer1", "layer2")],
                title=f"{title}\nthe first held-out {lab.data.classes[own['label']]}",
            ),
            "inside_cnn_occlusion": gallery(
                drawn,
                heads=[lab.data.classes[label] for label in firsts["label"]],
                title=f"{title}\nof each class its first held-out image; probability of the class "
                "with a patch over each place, black 0, white 1",
                sides=["image", *(f"{name}, patch {fill:g}" for name, fill in patched)],
            ),
        },
    )


def predictions(lab: Lab, benign: Pictures) -> list[list[Picture]]:
    """The first held-out images in two rows: which digit it is, and which the network sees."""
    found = {}
    for piece in benign.pieces:
        held = lab.tensors(piece.name)
        for i, image in enumerate(held["ids"].tolist()):
            said = (lab.data.classes[int(held[name][i])] for name in ("labels", "undefended"))
            found[image] = Picture(held["images"][i].numpy(), "{}: seen as {}".format(*said))
    shown = [found[image] for image in sorted(found)[:N_SHOWN]]
    half = len(shown) // 2
    return [shown[:half], shown[half : 2 * half]]


def image_of(lab: Lab, benign: Pictures, image: int) -> np.ndarray:
    """One held-out image."""
    pieces = [lab.tensors(piece.name) for piece in benign.pieces]
    return next(p["images"][p["ids"] == image][0].numpy() for p in pieces if image in p["ids"])


def maps(lab: Lab, rows: Rows, line: Rows) -> list[Picture]:
    """A victim's maps of some images."""
    shown = []
    for _, at in line.iterrows():
        in_cell = rows[rows["cell_id"] == at["cell_id"]]
        drawn = lab.tensors(at["piece"])["maps"][int((in_cell["image"] == at["image"]).argmax())]
        shown.append(Picture(drawn[None].numpy(), f"p {at['p']:.2f}, least {at['least_p']:.2f}"))
    return shown


SMOKE = (
    "--epochs 1 --runs 3 --fast-eps-255 4 --patch 8 --stride 8 --defences none "
    "--report-benign 40 --block 40"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
