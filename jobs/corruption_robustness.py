"""Which compressed, noisy or blurred training images make a network sturdy against corruptions?

    python jobs/corruption_robustness.py --smoke
    python jobs/corruption_robustness.py              # photos, a thin network
    python jobs/corruption_robustness.py --data cifar10 --network vgg11_small --epochs 30 --runs 3
    python jobs/corruption_robustness.py --defences k3-of16-af116 jpeg40 blur3
    python jobs/corruption_robustness.py --figure     # from stored rows

A network is trained on each set of training images: as they are, after JPEG, noise or blur, or
several of these joined. All classify clean images and the same after ten corruptions in five
severities. Settings of a family are chosen by three rules (BDA, BDAD, BDADS) on the search split
and reported on held-out images; beside it the source's way, which chooses and reports on the same.
Defences before these networks, at test time alone, are compared with none on the same images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from search import Job, flag, flags, later, main

with later():
    from core.corruptions import N_SEVERITIES
    from core.data.corrupted import check_published
    from results import Answer, Rows, defended, robust, robust_picture, schema
    from results.robust_text import text, verdict
    from search import Lab
    from search.measures import augmented
    from search.measures.transformed import Sources
    from search.transforming import corruptions_of, images_after, trained_on, training_images

SETS = (
    *("none", "jpeg5", "jpeg10", "jpeg20", "jpeg40", "jpeg80"),
    *("noise0.01", "noise0.05", "noise0.1", "blur3", "blur5", "none+jpeg40"),
    *("k3-of16-af116", "k10-of16-af56"),
)


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Corrupted):
    """The study's own flags."""

    sets: tuple[str, ...] = flag(
        SETS,
        "training images: none, jpeg40, noise0.05, augmix, patch25-0.1, none+jpeg40, a table, "
        "bls:lambda=L of rate_distortion, ...",
        "NAME",
    )
    defences: tuple[str, ...] = flag(
        (), "before each network, at test time: jpeg40, blur3, tvm, a table, bls:lambda=L", "NAME"
    )
    corrupted_root: str | None = flag(
        None, "folder of the published CIFAR-10-C, for held-out images of cifar10", "DIR"
    )

    @property
    def folders(self) -> tuple[str | None, ...]:
        """And that of published files."""
        return self.frost, self.corrupted_root


def run(lab: Lab, asked: Asked) -> Answer:
    """Train on every set, corrupt, classify, choose."""
    flags.no_classifier(asked, "--network says what is trained")
    augmented.check([asked.network], asked.sets)
    for name in asked.defences:
        lab.front(name)  # an unknown one is said before all training
    corruptions, left_out = corruptions_of(lab, asked)
    frost, published = map(flags.absolute, asked.folders)
    if published:
        check_published(lab.data, published, corruptions)
    tests = [f"{name}@{level}" for name in corruptions for level in range(1, N_SEVERITIES + 1)]
    n = lab.count(search=asked.benign, report=asked.report_benign)
    images = training_images(lab, asked.sets)
    trained = trained_on(lab, [asked.network], asked.sets, images, asked)
    sources = Sources(kind=asked.severities, frost=frost, published=published)
    wanted = [(test, split, n[split]) for split in n for test in ("none", *tests)]
    shown = images_after(lab, sources, wanted, block=1000)
    cells = list(augmented.cells(trained, shown, block=asked.block))
    rows = lab.grouped(
        lab.sweep(augmented.study("corruption_robustness"), cells, asked.network, label="scores")
    )
    found = robust.answered(rows, asked.sets, tests)
    title = f"{lab.images}, {asked.network}, {asked.epochs} epochs"
    source = f"severities of {asked.severities}"
    if published:
        source = f"published images of CIFAR-10-C (report), {source} (search)"
    said = [f"{title}; {source}", *(f"left out: {name}: {why}" for name, why in left_out.items())]
    ranked = found.ranking()
    figures = {"corruption_clean": robust_picture.against_clean(ranked, title=title)}
    for rule in robust.RULES:
        names = {family: found.called(family, rule) for family in found.families}
        figures[f"corruption_{rule.lower()}"] = robust_picture.over_severity(
            found.severities(rule), names, title=f"{title}: {rule}, chosen on the search split"
        )
    said.append(text(found, clean=robust.runs_bias(rows)))
    frames = {
        "ranking": ranked,
        "best": found.best("BDAD"),
        "optimism": found.optimism(),
        "gains": found.gains(),
    }
    if asked.defences:
        run_of = robust.picked_runs(rows, "search")
        picked = {cell: made for cell, made in trained.items() if cell.run == run_of[cell.training]}
        again = defended.defended(rows, behind(lab, asked, picked, shown), asked.sets, tests)
        frames["defended"] = again.gains()
        said += ["", defended.text(frames["defended"])]
        figures["corruption_defended"] = robust_picture.over_severity(
            again.severities(),
            {name: name for name in (defended.BARE, *again.behind)},
            title=f"{title}: trained on {asked.sets[0]}, behind defences",
        )
    return Answer(text="\n".join(said), verdict=verdict(found), frames=frames, figures=figures)


def behind(
    lab: Lab,
    asked: Asked,
    trained: Mapping[augmented.TrainCell, schema.Table],
    shown: augmented.Images,
) -> dict[str, Rows]:
    """Rows of the held-out images before each network, by the defence that they are behind."""
    held_out = {cell: made for cell, made in shown.items() if cell.split == "report"}
    fronts = {name: lab.front(name) for name in asked.defences}
    cells = list(augmented.defended_cells(trained, held_out, fronts, block=asked.block))
    study = augmented.defended_study("corruption_defended")
    rows = lab.grouped(lab.sweep(study, cells, asked.network, label="behind defences"))
    return {name: rows[rows["defence"] == name] for name in fronts}


SMOKE = (
    "--data digits --network lenet5 --epochs 1 --sets none jpeg20 jpeg80 --benign 40 "
    "--report-benign 40 --corruptions gaussian_noise fog --defences jpeg40 smooth8"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
