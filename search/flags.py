"""The flags of jobs, as frozen dataclasses: typed where they are used, one text of help.

A field of `Flags` or of what derives from it is a flag (`search.command_line`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from core import known
from core.errors import InputError
from search.command_line import MOST, between, flag, gpu_share, one_of, parser_of, positive, seed
from search.later import later

with later():
    from core.models import needs_training
    from core.training import noisy
    from results.files import Root

SMOKE_NETWORK = "--model lenet5 --epochs 4"  # quick to train, and not by chance
SMOKE_TRIED = f"{SMOKE_NETWORK} --chain-epochs 1 --report-benign 60 --report-adversarial 20"
DATA = f"data set: {', '.join(known.DATA)}"
ATTACK = "NAME[:SETTINGS][@EPS[xSTEPS[xRESTARTS]]], eps in 1/255, such as fgsm@2 pgd@8x50x5 cw"
BUDGET = (
    "budget of the attack where --attack names none, in 1/255, of a pixel or, where the attack is "
    "L2, of an image"
)
RECIPE = ("learning_rate", "schedule", "batch")  # of the classifier
CLASSIFIER = ("model", "precision", "epochs", "retrain", *RECIPE)
USUAL = "usual"
TABLE = (
    "table of quality 50; usual: the winner of the store's last search of these data with this "
    "network, else the paper's, k3-of16-af51"
)
RUNS = "trainings of all networks that are trained here, from --seed on; their mean is reported"


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What every job takes."""

    store: str | None = flag(
        None,
        "folder or object store for rows and all else that is kept (s3://BUCKET/FOLDER, ...) "
        "[QSWEEP_STORE, else results/out]",
        "URI",
    )
    data: str = flag("digits", DATA, "NAME")
    side: int | None = flag(
        None, "side of the images; what the data set has unless given (photos: 32, 64 or 224)", "PX"
    )
    data_root: str | None = flag(None, "where mnist and cifar lie", "DIR")
    download: bool = flag(False, "fetch mnist or cifar if they are not there")
    model: str = flag(
        "small_resnet",
        f"classifier: {', '.join(known.OWN)}, trained here; train:NAME, any of torchvision's "
        "trained here; NAME, torchvision's with its published weights; timm:NAME; checkpoint:PATH "
        "(safetensors)",
        "NAME",
    )
    architecture: str | None = flag(None, "of a checkpoint that does not name its own", "NAME")
    normalise: str | None = flag(
        None,
        f"how such a checkpoint's images are normalised: {known.STATISTICS}; what is published for "
        "the architecture unless the file or this says else",
        "HOW",
    )
    epochs: int | None = flag(
        None, "of training, for a network that is trained here; by data set unless given"
    )
    learning_rate: float | None = flag(
        None,
        "the largest of the classifier's training; by architecture unless given",
        "RATE",
        parse=positive,
    )
    schedule: str | None = flag(
        None,
        f"of that rate: {', '.join(known.SCHEDULES)}; the first unless given",
        "NAME",
        parse=one_of(*known.SCHEDULES),
    )
    batch: int | None = flag(
        None,
        "images a step of that training; by architecture unless given",
        parse=between(2, MOST, int),
    )
    retrain: bool = flag(
        False, "train the network here, though its weights are shipped (small_resnet for digits)"
    )
    precision: str = flag(
        "fp32", "arithmetic of the network", "fp32|bf16", parse=one_of("fp32", "bf16")
    )
    seed: int = flag(0, "of splits, training and attacks", parse=seed)
    cpus: float | None = flag(
        None,
        "CPUs per task; 1 unless given, and of GPU tasks those that the smallest node has a GPU",
        parse=between(0.01, 10_000),
    )
    gpus: float | None = flag(
        None,
        "GPUs per task, fractions allowed; 1 unless given where the cluster has GPUs, else 0",
        parse=gpu_share,
    )
    smoke: bool = flag(False, "two small cells in a throwaway store, to see it work")
    here: bool = flag(
        False, "run everything in this process, cell after cell, without Ray: for a debugger"
    )
    figure: bool = flag(False, "answer and draw again from stored rows, run nothing")

    @property
    def recipe(self) -> dict[str, Any]:
        """How the classifier is trained, None where it is usual.

        All of it where a study has flags of these names for networks of its own.
        """
        own = type(self)
        said = {name: getattr(self, name) for name in RECIPE}
        return {name: said[name] if getattr(own, name) is None else None for name in RECIPE}

    @property
    def throwaway(self) -> bool:
        """Whether the store is forgotten in the end."""
        return self.smoke and self.store is None

    @property
    def paths(self) -> tuple[str, ...]:
        """Files, folders and URIs that every node must reach."""
        return paths_of(self.data, self.model, self.data_root)

    def begun_behind(self, root: Root) -> str | None:
        """The table of what is kept under `root` and goes on; None where nothing does."""
        del root
        return None


@dataclass(frozen=True, kw_only=True)
class Attacked(Flags):
    """An attack on the undefended network."""

    attack: str = flag(
        "fgsm", f"how examples are made: {ATTACK}; {', '.join(known.ATTACKS)}", "ATTACK"
    )
    eps_255: float | None = flag(None, f"{BUDGET}; 2 where it is L-infinity", "EPS")


@dataclass(frozen=True, kw_only=True)
class Searched(Attacked):
    """Images of the split that choices are made on, benign and attacked."""

    benign: int | None = flag(None, "benign images; 1000 or all there are")
    adversarial: int = flag(200, "adversarial examples")


@dataclass(frozen=True, kw_only=True)
class HeldOut(Flags):
    """Images of the split that is reported, all of them attacked."""

    report_benign: int | None = flag(300, "held-out images, all of them attacked")
    block: int = flag(50, "images per cell")


@dataclass(frozen=True, kw_only=True)
class Chained(Flags):
    """How noise-trained chains are trained."""

    table: str = flag(USUAL, f"{TABLE}; ijg50 with --codec jpeg", "NAME")
    codec: Literal["ours", "jpeg"] = flag(
        "ours", "quality by scaling the table, or that of the standard JPEG table"
    )
    xi: float = flag(known.XI, "weight of images as they are", "XI", parse=between(0, 1))
    chain_epochs: int = flag(known.EPOCHS, "of each of the seven fine-tuned members")
    chain_learning_rate: float = flag(
        known.LEARNING_RATE, "at each member's beginning", "RATE", parse=positive
    )
    chain_decay: float = flag(
        known.DECAY, "of that learning rate, each epoch", "FACTOR", parse=between(0, 1, above=True)
    )

    def __post_init__(self) -> None:
        """InputError for a table that no chain can be trained behind."""
        if self.table != USUAL:
            noisy.table_name(self.codec, self.table, 50)


@dataclass(frozen=True, kw_only=True)
class Tried(Attacked, Chained):
    """Held-out images that the members of chains are tried on."""

    attack: str = flag("ifgsm", f"on M, the gray box: {ATTACK}", "ATTACK")
    report_benign: int | None = flag(None, "benign images; 1000 or all there are")
    report_adversarial: int = flag(200, "adversarial examples")
    block: int = flag(250, "images per cell")


Asked = TypeVar("Asked", bound=Flags)


@dataclass(frozen=True, kw_only=True)
class Augmented(Flags):
    """Networks trained by plain momentum at a constant rate, on transformed images too."""

    runs: int = flag(1, "trainings of each network on each set; the source's are 3")
    epochs: int | None = flag(4, "of each training; the source's are 30")
    learning_rate: float = flag(0.01, "of each training, constant", "RATE", parse=positive)
    batch: int = flag(64, "images a step; the source's are 128, or 200 and 300 of Tiny ImageNet")
    shift: int = flag(
        0,
        "pixels that half of the training images are moved by; CIFAR's all are, by 4",
        "PX",
        parse=between(0, 32, int),
    )


@dataclass(frozen=True, kw_only=True)
class Corrupted(Augmented):
    """One such network on clean and corrupted images of both splits."""

    data: str = flag("photos", DATA, "NAME")
    network: str = flag("vgg11_5", "that is trained on each set", "NAME")
    corruptions: tuple[str, ...] = flag(known.CORRUPTIONS, "of the test images", "NAME")
    severities: Literal["cifar10-c", "imagenet-c"] = flag(
        "cifar10-c", "whose: ImageNet-C's are meant for 224 pixels"
    )
    frost: str | None = flag(
        None, "folder of frost's photographs [that of the package imagecorruptions]", "DIR"
    )
    benign: int | None = flag(300, "search images that settings are chosen on")
    report_benign: int | None = flag(300, "held-out images")
    block: int = flag(500, "images per cell")

    @property
    def paths(self) -> tuple[str, ...]:
        """With the folders that corruptions come from."""
        return (*super().paths, *filter(None, map(absolute, self.folders)))

    @property
    def folders(self) -> tuple[str | None, ...]:
        """Those, as given."""
        return (self.frost,)


def absolute(folder: str | None) -> str | None:
    """A folder as it is called from everywhere."""
    return str(Path(folder).expanduser().absolute()) if folder else None


def no_classifier(asked: Flags, hint: str) -> None:
    """InputError for flags of a classifier where a study trains its own networks."""
    # A flag with another default here is one that the study has for its own networks.
    shared = [name for name in CLASSIFIER if getattr(type(asked), name) == getattr(Flags, name)]
    given = [name for name in shared if getattr(asked, name) != getattr(Flags, name)]
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        raise InputError(
            f"no classifier takes part in this study, so {flag} does not matter.\n"
            f"Hint: leave it out; {hint}."
        )


def parse(
    asked: type[Asked],
    *,
    name: str,
    question: str,
    argv: Sequence[str] | None = None,
    smoke: str = "",
) -> Asked:
    """The command line as an `asked`; with --smoke its defaults are those that `smoke` gives.

    `name` is what the program is called in its help.

    Ends the process with exit code 2 where argparse finds a flag wrong. InputError for --smoke
    with a throwaway store and --figure.
    """
    parser = parser_of(asked, name, question, shared=Flags)
    options = parser.parse_args(argv)
    if options.smoke:
        if options.figure and options.store is None:
            raise InputError(
                "--smoke --figure has no rows to draw: a smoke run's store is thrown away.\n"
                "Hint: give --store to both, or leave --figure out."
            )
        usual, small = (vars(parser.parse_args(words)) for words in ([], smoke.split()))
        if not needs_training(options.model):
            del small["epochs"]
        if options.data != usual["data"]:
            del small["model"]  # one for images of the usual kind
        parser.set_defaults(**{k: v for k, v in small.items() if v != usual[k]})
        options = parser.parse_args(argv)
    return asked(**vars(options))


def paths_of(data: str, model: str, data_root: str | None) -> tuple[str, ...]:
    """Files, folders and URIs that a data set and a model name and every node must reach."""
    kinds = [spec.partition(":") for spec in (data, model)]
    remote = [path for kind, _, path in kinds if kind == "imagefolder" and "://" in path]
    named = [path for kind, _, path in kinds if kind in ("imagefolder", "checkpoint")]
    if data_root:
        named.append(data_root)
    local = (str(Path(path).expanduser().absolute()) for path in named if path not in remote)
    return (*local, *remote)
