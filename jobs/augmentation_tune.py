"""Which mixture of augmentations makes a network sturdy against corruptions?

    python jobs/augmentation_tune.py --smoke
    python jobs/augmentation_tune.py --trials 12       # photos, a thin network
    python jobs/augmentation_tune.py --until 40 --codecs bls:lambda=0.001 bls:lambda=0.005
    python jobs/augmentation_tune.py --figure          # answer and draw from what is stored

Each training image stands once: as it is, after JPEG, after noise or behind another codec, such as
a learned one of `rate_distortion`. Optuna chooses in which proportions, at which quality, deviation
and lambda; a trial trains that network, and counts corrupted search images, all corruptions and
severities alike. The best mixture is reported on held-out images, beside sets that nobody tuned.
Killed at any moment, the same command goes on; --until N is N trials in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from core.errors import InputError, UnknownNameError
from search import Job, flag, flags, later, main
from search.command_line import whole_numbers
from search.tuning.asked import Kept

with later():
    import pandas as pd

    from core.corruptions import N_SEVERITIES
    from results import Answer, Rows, mixtures
    from results.robust import ORIGINAL, answered
    from search import Lab
    from search.engine.plan import Grid
    from search.measures import augmented
    from search.measures.transformed import Sources
    from search.transforming import corruptions_of, images_after, trained_on, training_images
    from search.tuning.driver import Driver, tried
    from search.tuning.mixtures import Mixtures, Right, Tuning
    from search.tuning.space import Setting

STUDY = "augmentation_tune"


@dataclass(frozen=True, kw_only=True)
class Asked(flags.Corrupted, Kept):
    """The study's own flags."""

    study: str = flag("mixtures", "what the study is called; the same name goes on with it", "NAME")
    parts: tuple[int, ...] = flag(
        (0, 1, 2, 3), "images of each kind for one as it is", parse=whole_numbers(0, 99)
    )
    quality: tuple[int, ...] = flag(
        tuple(range(10, 91, 10)), "of JPEG", "Q", parse=whole_numbers(1, 100)
    )
    noise_percent: tuple[int, ...] = flag(
        tuple(range(1, 12, 2)), "deviation of Gaussian noise, in percent of the range", "SIGMA",
        parse=whole_numbers(1, 100),
    )  # fmt: skip
    codecs: tuple[str, ...] = flag(
        (), "and one of these: bls:lambda=L of rate_distortion by rising L, a table, ...", "NAME"
    )
    beside: tuple[str, ...] = flag(
        ("none", "jpeg80", "noise0.05"), "training sets that the best one is told with", "NAME"
    )


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Networks of training sets before clean and corrupted images."""

    lab: Lab
    asked: Asked
    mixtures: Mixtures
    sources: Sources
    tests: Sequence[str]
    sweep: str = ""

    @property
    def n(self) -> Mapping[str, int]:
        """How many images of each split."""
        return self.lab.count(search=self.asked.benign, report=self.asked.report_benign)

    def rows(self, sets: Sequence[str], *splits: str) -> Rows:
        """Every image before the network of every set, trained where it is not stored."""
        lab, asked = self.lab, self.asked
        images = training_images(lab, sets)
        trained = trained_on(lab, [asked.network], sets, images, asked)
        wanted = [(test, s, self.n[s]) for s in splits for test in (ORIGINAL, *self.tests)]
        shown = images_after(lab, self.sources, wanted, block=1000)
        study = augmented.study(STUDY)
        plan = Grid(study.cell_id, augmented.cells(trained, shown, block=asked.block))
        rows = lab.run(study, plan, self.sweep, label="scores")
        kept: Rows = rows[rows["training"].isin(sets)]
        return kept

    def right(self, settings: Sequence[Setting]) -> list[Right]:
        """Of each setting what its network gets right of the search images."""
        sets = [self.mixtures.set_of(setting) for setting in settings]
        rows = self.rows(list(dict.fromkeys(sets)), "search")
        right = (rows["predicted"] == rows["label"])[rows["split"] == "search"]
        by = [rows["training"].astype(str), rows["test"] != ORIGINAL]
        found = right.groupby(by).agg(["sum", "size"])
        counts = {key: tuple(map(int, line)) for key, *line in found.itertuples()}
        return [Right(*counts[name, True], *counts[name, False]) for name in sets]

    def question(self) -> dict[str, Any]:
        """All that decides the answers."""
        lab, asked = self.lab, self.asked
        names = ("network", "runs", "epochs", "learning_rate", "batch", "shift", "severities")
        codecs = [codec_of(lab, name) for name in self.mixtures.codecs]
        frost = self.sources.said("frost@1", "search")[1] if "frost@1" in self.tests else ""
        made = {"tests": list(self.tests), "frost": frost, "images": dict(self.n), "pieces": codecs}
        return asdict(lab.inputs) | {name: getattr(asked, name) for name in names} | made


def codec_of(lab: Lab, name: str) -> str:
    """A codec as cells name it. InputError for none."""
    try:
        return lab.front(name)
    except UnknownNameError as cause:
        raise InputError(
            f"no codec is called {name!r}.\n"
            "Hint: --codecs takes learned codecs of rate_distortion such as bls:lambda=0.005, "
            "tables such as k3-of16-af116 (also @ycbcr420), jpeg40-444, blur3."
        ) from cause


def run(lab: Lab, asked: Asked) -> Answer:
    """Tune, then report the best mixture on held-out images."""
    flags.no_classifier(asked, "--network says what is trained")
    augmented.check([asked.network], asked.beside)
    corruptions, left_out = corruptions_of(lab, asked)
    of = Mixtures(
        parts=asked.parts, quality=asked.quality, noise_percent=asked.noise_percent,
        codecs=asked.codecs,
    )  # fmt: skip
    tests = [f"{name}@{level}" for name in corruptions for level in range(1, N_SEVERITIES + 1)]
    sources = Sources(kind=asked.severities, frost=flags.absolute(asked.frost))
    sets = Sets(lab=lab, asked=asked, mixtures=of, sources=sources, tests=tests)
    tuning = Tuning(study=asked.study, mixtures=of, question=sets.question(), seed=asked.seed)
    sets = replace(sets, sweep=lab.name([asked.study], tuning.asked()))
    with asked.opened(lab.engine.store.root) as opened:
        driver = Driver(opened, tuning, partial(tried, sets.right))
        if not asked.figure:
            parallel = asked.at_a_time(lab.engine.slots())
            driver.run(until=asked.until, more=asked.more, parallel=parallel)
        trials = pd.DataFrame(of.told(driver.ended()))
        importances, failed = driver.importances(), driver.failed()
    if trials.empty:
        raise InputError(f"no trial of {asked.study!r} is complete.\nHint: --trials 12")
    ranked = trials.sort_values("corrupted", ascending=False, kind="stable")
    best = str(ranked["training"].iloc[0])
    told = [best, *(name for name in asked.beside if name != best)]
    found = answered(lab.grouped(sets.rows(told, "search", "report")), told, tests)
    lines, gained = mixtures.reported(found), mixtures.gains(found)
    title = f"{lab.images}, {asked.network}, {asked.epochs} epochs"
    notes = [f"left out: {name}: {why}" for name, why in left_out.items()]
    return Answer(
        text="\n".join([title, *notes, mixtures.text(trials, lines, gained, importances)]),
        verdict=mixtures.verdict(trials, lines),
        frames={"trials": trials, "reported": lines, "gains": gained},
        figures={"augmentation_tune": mixtures.figure(trials, lines, title=title)},
        failed={f"trial {number}": error for number, error in failed.items()},
    )


SMOKE = (
    "--data digits --network lenet5 --epochs 1 --trials 2 --parts 0,1 --quality 20 "
    "--noise-percent 5 --beside none --benign 40 --report-benign 40 --corruptions fog"
)
JOB = Job(__file__, __doc__, Asked, run, smoke=SMOKE, trains=lambda _: True)

if __name__ == "__main__":
    raise SystemExit(main(JOB))
