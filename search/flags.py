"""Flags as frozen dataclasses: typed where they are used, one text of help, argparse here alone.

A field of `Flags` or of what derives from it is a flag: its name and parser follow from its own
name and type.
"""

import argparse
import dataclasses
import itertools
import re
import shutil
import sys
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from core import known
from core.errors import InputError
from results.shown import fault, plain, scrubbed
from search.later import later

with later():
    from core.models import needs_training
    from core.training import noisy

T = TypeVar("T")
Parse = Callable[[str], Any]
SMOKE_NETWORK = "--model lenet5 --epochs 4"  # quick to train, and not by chance
SMOKE_TRIED = f"{SMOKE_NETWORK} --chain-epochs 1 --report-benign 60 --report-adversarial 20"
DATA = f"data set: {', '.join(known.DATA)}"
ATTACK = "NAME[:SETTINGS][@EPS[xSTEPS[xRESTARTS]]], eps in 1/255, such as fgsm@2 pgd@8x50x5 cw"
MOST = 10**9  # no number on a command line has a meaning beyond
BUDGET = (
    "budget of the attack where --attack names none, in 1/255, of a pixel or, where the attack is "
    "L2, of an image"
)
RUNS = "trainings of all networks that are trained here, from --seed on; their mean is reported"
_MOST_NUMBERS = 10_000
_MOST_DIGITS = 30


def flag(default: T, about: str, unit: str = "N", *, parse: Parse | None = None) -> T:
    """A flag's default and help; `unit` stands for its value there."""
    made: T = dataclasses.field(
        default=default, metadata={"about": about, "unit": unit, "parse": parse}
    )
    return made


def number(text: str, kind: type[int] | type[float] = float) -> float:
    """Parse a number in the digits 0..9; Python's reader takes those of all scripts, and 1_0."""
    usual = r"[+-]?\d+" if kind is int else r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?"
    if not re.fullmatch(usual, text, re.ASCII | re.IGNORECASE) or len(text) > _MOST_DIGITS:
        wanted = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(f"expected {wanted}, got {short(text)}")
    return kind(text)


def short(text: str) -> str:
    """A text in quotes, the middle of a long one left out."""
    return repr(text if len(text) <= 80 else f"{text[:40]}...{text[-20:]}")


def whole_numbers(low: int = 0, high: int = MOST) -> Parse:
    """A parser of "3", "3,5,9", "1-14" or "1-121/5" (both ends included) into rising numbers."""

    def parse(text: str) -> tuple[int, ...]:
        numbers: set[int] = set()
        for part in text.split(","):
            match = re.fullmatch(
                r"\s*(\d{1,11})(?:-(\d{1,11})(?:/(\d{1,11}))?)?\s*", part, re.ASCII
            )
            if match is None:
                raise argparse.ArgumentTypeError(
                    f"expected numbers like 3, 1-14, 1-121/5 or 3,5,9; got {short(text)}"
                )
            first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
            if last < first or step < 1:
                raise argparse.ArgumentTypeError(f"an empty range: {part.strip()!r}")
            if len(range(first, last + 1, step)) > _MOST_NUMBERS:
                raise argparse.ArgumentTypeError(
                    f"expected at most {_MOST_NUMBERS} numbers, got {part.strip()!r}"
                )
            if first < low or last > high:
                raise argparse.ArgumentTypeError(
                    f"expected numbers in {low}..{high}, got {part.strip()!r}"
                )
            numbers.update(range(first, last + 1, step))
        return tuple(sorted(numbers))

    return parse


def many(one: Parse) -> Parse:
    """A parser of "8" or "0,4,8" into rising numbers, each parsed by `one`."""
    return lambda text: tuple(sorted({one(part) for part in text.split(",")}))


def words(text: str) -> str:
    """Parse a text that is not empty and can be shown, stored and handed to the system."""
    if wrong := fault(text):
        raise argparse.ArgumentTypeError(f"{wrong}; is a variable of the shell unset?")
    return text


def one_of(*names: str) -> Parse:
    """A parser of one of some names."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"expected {', '.join(names)}; got {short(text)}")
        return text

    return parse


def between(
    low: float, high: float, kind: type[int] | type[float] = float, *, above: bool = False
) -> Parse:
    """A parser of numbers in low..high; `above`: the lowest itself is none of them."""
    said = f"of at least {low:g}" if high == MOST else f"in {low:g}..{high:.10g}"
    if above:
        said = f"above {low:g}" + ("" if high == MOST else f" and at most {high:g}")

    def parse(text: str) -> float:
        value = number(text, kind)
        if not low <= value <= high or (above and value == low):
            raise argparse.ArgumentTypeError(
                f"expected a {'whole ' * (kind is int)}number {said}, got {short(text)}"
            )
        return value

    return parse


positive = between(0, MOST, above=True)
at_least_zero = between(0, MOST)
count = between(0, MOST, int, above=True)
level = between(0, 255)  # of noise or a budget, in 1/255
levels = many(level)
points = between(0, 100, above=True)
seed = between(0, 2**31 - 1, int)  # of 31 bits, for every generator takes it


def gpu_share(text: str) -> float:
    """Parse GPUs per task: a fraction of one, or whole ones."""
    value = at_least_zero(text)
    if value > 1 and value != int(value):
        raise argparse.ArgumentTypeError(f"expected a share below 1 or whole GPUs, got {text}")
    return float(value)


_PARSERS: Mapping[Any, Parse] = {
    int: count,
    float: at_least_zero,
    str: words,
    tuple[int, ...]: whole_numbers(),
    tuple[float, ...]: levels,
    tuple[str, ...]: words,
}


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
    def throwaway(self) -> bool:
        """Whether the store is forgotten in the end."""
        return self.smoke and self.store is None

    @property
    def paths(self) -> tuple[str, ...]:
        """Files, folders and URIs that every node must reach."""
        return paths_of(self.data, self.model, self.data_root)


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

    table: str = flag(
        "k3-of16-af51",
        "table of quality 50, such as a search's winner; ijg50 with --codec jpeg",
        "NAME",
    )
    codec: Literal["ours", "jpeg"] = flag(
        "ours", "quality by scaling the table, or that of the standard JPEG table"
    )
    xi: float = flag(known.XI, "weight of images as they are", "XI", parse=between(0, 1))
    chain_epochs: int = flag(known.EPOCHS, "of each of the seven fine-tuned members")
    learning_rate: float = flag(
        known.LEARNING_RATE, "at each member's beginning", "RATE", parse=positive
    )
    decay: float = flag(
        known.DECAY, "of the learning rate, each epoch", "FACTOR", parse=between(0, 1, above=True)
    )

    def __post_init__(self) -> None:
        """InputError for a table that no chain can be trained behind."""
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
    learning_rate: float = flag(0.01, "constant", "RATE", parse=positive)
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
    if (asked.model, asked.precision) != (Flags.model, Flags.precision):
        raise InputError(
            "no classifier of --model takes part in this study, so neither --model nor --precision "
            f"matters.\nHint: leave them out; {hint}."
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
    parser = parser_of(asked, name, question)
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


def parser_of(asked: type[Flags], name: str, question: str) -> argparse.ArgumentParser:
    """The command line of a job: a flag for each field, those that all jobs share last."""
    parser = Parser(
        prog=name, description=question.strip(), formatter_class=_Help, allow_abbrev=False
    )
    own, shared = (
        parser.add_argument_group(title) for title in ("this study", "shared by all jobs")
    )
    hints = typing.get_type_hints(asked)
    common = {field.name for field in dataclasses.fields(Flags)}
    for field in dataclasses.fields(asked):
        group = shared if field.name in common else own
        _add(group, f"--{field.name.replace('_', '-')}", hints[field.name], field)
    return parser


def _add(
    group: argparse._ArgumentGroup, option: str, kind: Any, field: "dataclasses.Field[Any]"
) -> None:
    about, unit, parse = (field.metadata[key] for key in ("about", "unit", "parse"))
    if kind is bool:
        group.add_argument(option, action="store_true", help=about)
        return
    if isinstance(kind, types.UnionType):
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
    how: dict[str, Any] = {"type": parse or _PARSERS.get(kind), "metavar": unit}
    if typing.get_origin(kind) is Literal:
        how = {"choices": typing.get_args(kind)}
    elif kind == tuple[str, ...]:
        how |= {"nargs": "*"}
    elif typing.get_origin(each := (*typing.get_args(kind), None)[0]) is Literal:
        how = {"choices": typing.get_args(each), "nargs": "+"}
    group.add_argument(option, default=field.default, help=about, **how)


class Parser(argparse.ArgumentParser):
    """Refuses what is given twice, and tells no secrets in its errors."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's own."""
        words = sys.argv[1:] if args is None else args
        own = list(itertools.takewhile(lambda word: word != "--", words))
        given = Counter(word.partition("=")[0] for word in own if word.startswith("--"))
        if empty := next((option for option in given if f"{option}=--" in own), None):
            self.error(f"argument {empty}: expected a value, got '--'")
        if twice := next((option for option, n in given.items() if n > 1), None):
            self.error(f"{twice} is given twice; which is meant?")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit code 2, with the usage."""
        super().error(plain(scrubbed(message)))


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        width = min(96, shutil.get_terminal_size(fallback=(96, 24)).columns)
        super().__init__(prog, max_help_position=30, width=width)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, (), argparse.SUPPRESS) or action.help is None:
            return action.help
        default = action.default
        if isinstance(default, tuple):
            default = spelled(default)
        return f"{action.help} [{default}]"


def spelled(values: Sequence[Any]) -> str:
    """A flag's values as a command line has them: "1-121/5", "0,0.5", "fgsm@2 cw"."""
    if isinstance(values[0], str):
        return " ".join(values)
    steps = {later - earlier for earlier, later in itertools.pairwise(values)}
    if len(values) > 2 and len(steps) == 1 and isinstance(values[0], int):
        (step,) = steps
        return f"{values[0]}-{values[-1]}" + (f"/{step}" if step > 1 else "")
    return ",".join(f"{value:g}" for value in values)


def paths_of(data: str, model: str, data_root: str | None) -> tuple[str, ...]:
    """Files, folders and URIs that a data set and a model name and every node must reach."""
    kinds = [spec.partition(":") for spec in (data, model)]
    remote = [path for kind, _, path in kinds if kind == "imagefolder" and "://" in path]
    named = [path for kind, _, path in kinds if kind in ("imagefolder", "checkpoint")]
    if data_root:
        named.append(data_root)
    local = (str(Path(path).expanduser().absolute()) for path in named if path not in remote)
    return (*local, *remote)
