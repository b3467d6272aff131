"""The command line that every job shares: flags, errors, exit codes."""

import argparse
import contextlib
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import models
from core.data import KNOWN, is_uri
from core.errors import InputError
from results.files import Root, redacted
from results.query import default_store
from results.store import Store
from search.cluster.shipping import check_arguments, check_script
from search.engine.study import say
from search.engine.sweep import CellsFailed, Engine, Outcome
from search.stages import Source

EXIT_FAILED_CELLS = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Job:
    """One question on the command line.

    `run` answers it with an engine and the parsed flags and returns the exit code. `smoke` are
    the flags' values for two small cells.
    """

    name: str
    question: str  # the module's docstring: first paragraph is the description
    add_flags: Callable[[argparse._ArgumentGroup], None]
    run: Callable[[Engine, argparse.Namespace], int]
    smoke: Mapping[str, Any] = field(default_factory=dict)


def main(job: Job, argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn what a user can mend into a clear error.

    Exit codes: 0 answered, 1 some cells failed, 2 unusable input, 130 interrupted.
    """
    parser = parser_of(job)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        check_script()
        check_arguments(arguments=sys.argv[1:])
        if options.smoke:
            _check_smoke(options)
            trains = models.needs_training(options.model)
            few = {k: v for k, v in job.smoke.items() if trains or k != "epochs"}
            parser.set_defaults(**few)
            options = parser.parse_args(argv)
        with _store(options) as store:
            engine = Engine(store, options.cpus, options.gpus, options.figure, paths_of(options))
            try:
                return job.run(engine, options)
            finally:
                engine.stop()
    except CellsFailed as failure:
        return failed(failure.outcome)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_INPUT
    except OSError as error:
        print(
            f"error: the store cannot be used: {error}\n"
            "Hint: --store names a folder or object store that can be read and written; what was "
            "stored before is kept.",
            file=sys.stderr,
        )
        return EXIT_INPUT
    except KeyboardInterrupt:
        print(
            "\ninterrupted: what is finished is stored; the same command goes on from there",
            file=sys.stderr,
        )
        return EXIT_INTERRUPTED


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _check_smoke(options: argparse.Namespace) -> None:
    if options.figure and options.store is None:
        raise InputError(
            "--smoke --figure has no rows to draw: a smoke run's store is thrown away.\n"
            "Hint: give --store to both, or leave --figure out."
        )


def source_of(options: argparse.Namespace) -> Source:
    """The data and the network that the shared flags name."""
    return Source(
        data=options.data,
        side=options.side,
        data_root=options.data_root,
        download=options.download,
        model=options.model,
        architecture=options.architecture,
        epochs=options.epochs,
        seed=options.seed,
    )


def paths_of(options: argparse.Namespace) -> tuple[str, ...]:
    """Files, folders and URIs that the flags name and that every node must reach."""
    kinds = [spec.partition(":") for spec in (options.data, options.model)]
    remote = [path for kind, _, path in kinds if kind == "imagefolder" and is_uri(path)]
    named = [path for kind, _, path in kinds if kind in ("imagefolder", "checkpoint")]
    if options.data_root:
        named.append(options.data_root)
    local = (str(Path(path).expanduser().absolute()) for path in named if path not in remote)
    return (*local, *remote)


def state_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the store's listing says of how a sweep was asked for."""
    command = " ".join(redacted(word) for word in sys.argv)
    return {"command": command, "data": redacted(options.data), "model": options.model}


def print_written(files: Iterable[tuple[str, str]], *, width: int = 9) -> None:
    """Print what is written and where, each line once its file is there."""
    for what, where in files:
        print(f"{what:>{width}}  {where}")


def failed(outcome: Outcome) -> int:
    """Say which cells failed; the exit code."""
    print(
        f"{len(outcome.failed)} cells of {outcome.study} failed, so there is no answer yet:",
        file=sys.stderr,
    )
    for cell_id, error in list(outcome.failed.items())[:10]:
        print(f"  {cell_id}: {error}", file=sys.stderr)
    print("Hint: the same command tries them again and keeps all others.", file=sys.stderr)
    return EXIT_FAILED_CELLS


@contextlib.contextmanager
def _store(options: argparse.Namespace) -> Iterator[Store]:
    if options.smoke and options.store is None:
        with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
            yield Store(Root(folder))
            say(f"this was a smoke run: {folder} is thrown away")
        return
    if str(options.store).startswith("memory:"):
        raise InputError(
            "a store in memory is not shared with the workers.\nHint: --store DIR, or s3://..."
        )
    try:
        root = Root(default_store() if options.store is None else options.store)
    except ValueError as error:
        raise InputError(str(error)) from error
    yield Store(root)


_MOST_NUMBERS = 10_000


def whole_numbers(text: str) -> tuple[int, ...]:
    """Parse "3", "3,5,9", "1-14" or "1-121/5" (both ends included) into rising numbers."""
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+)(?:/(\d+))?)?\s*", part)
        if match is None:
            raise argparse.ArgumentTypeError(
                f"expected numbers like 3, 1-14, 1-121/5 or 3,5,9; got {text!r}"
            )
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if last < first or step < 1:
            raise argparse.ArgumentTypeError(f"an empty range: {part.strip()!r}")
        if len(range(first, last + 1, step)) > _MOST_NUMBERS:
            raise argparse.ArgumentTypeError(
                f"expected at most {_MOST_NUMBERS} numbers, got {part.strip()!r}"
            )
        numbers.update(range(first, last + 1, step))
    return tuple(sorted(numbers))


def levels(text: str) -> tuple[float, ...]:
    """Parse "8" or "0,4,8" into rising numbers of at least zero."""
    return tuple(sorted({at_least_zero(part) for part in text.split(",")}))


def positive(kind: type[int] | type[float]) -> Callable[[str], Any]:
    """A parser of numbers above zero."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
        return value

    parse.__name__ = kind.__name__
    return parse


def at_least_zero(text: str) -> float:
    """A parser of finite numbers of at least zero."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def gpu_share(text: str) -> float:
    """A parser of GPUs per task: a fraction of one, or whole ones."""
    value = at_least_zero(text)
    if value > 1 and value != int(value):
        raise argparse.ArgumentTypeError(f"expected a share below 1 or whole GPUs, got {text}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number in 0..2147483647, got {text}")
    return value


def parser_of(job: Job) -> argparse.ArgumentParser:
    """The job's command line."""
    description = job.question.strip().split("\n\n")
    parser = argparse.ArgumentParser(
        prog=f"{job.name}.py",
        description="\n\n".join(description),
        formatter_class=_Help,
        allow_abbrev=False,
    )
    job.add_flags(parser.add_argument_group("this study"))
    _shared_flags(parser.add_argument_group("shared by all jobs"))
    return parser


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=96)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, argparse.SUPPRESS) or action.help is None:
            return action.help
        default = action.default
        if isinstance(default, tuple):
            default = f"{default[0]}..{default[-1]}, {len(default)} values"
        return f"{action.help} [{default}]"


def _shared_flags(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--store", metavar="URI", help="folder or object store for rows and all else that is kept "
        "(s3://BUCKET/FOLDER, ...) [QSWEEP_STORE, else results/out]")  # fmt: skip
    add("--data", default="digits", metavar="NAME", help=f"data set: {', '.join(KNOWN)}")
    add("--side", type=positive(int), metavar="PX", help="side of the images; what the data set "
        "has unless given (photos: 32, 64 or 224)")  # fmt: skip
    add("--data-root", metavar="DIR", help="where mnist and cifar lie")
    add("--download", action="store_true", help="fetch mnist or cifar if they are not there")
    add(
        "--model",
        default="small_resnet",
        metavar="NAME",
        help="classifier: "
        "small_resnet or lenet, trained here; train:NAME, any of torchvision's trained here; NAME, "
        "torchvision's with its published weights; timm:NAME; checkpoint:PATH (safetensors)",
    )
    add("--architecture", metavar="NAME", help="of a checkpoint that does not name its own")
    add("--epochs", type=positive(int), metavar="N", help="of training, for a network that is "
        "trained here; by data set unless given")  # fmt: skip
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="arithmetic of the network")
    add("--seed", type=_seed, default=0, metavar="N", help="of splits, training and attacks")
    add("--cpus", type=positive(float), default=1.0, metavar="N", help="CPUs per task")
    add("--gpus", type=gpu_share, metavar="N", help="GPUs per task, fractions allowed; 1 "
        "unless given where the cluster has GPUs, else 0")  # fmt: skip
    add("--smoke", action="store_true", help="two small cells in a throwaway store, to see it work")
    add("--figure", action="store_true", help="answer and draw again from stored rows, run nothing")
