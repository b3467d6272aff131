"""A command line made out of a frozen dataclass: a flag for each field, argparse here alone.

A flag's name and parser follow from the field's own name and type.
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
from typing import Any, Literal, NoReturn, TypeVar

from results.shown import fault, plain, scrubbed

T = TypeVar("T")
Parse = Callable[[str], Any]
MOST = 10**9  # no number on a command line has a meaning beyond
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
            wanted = f"of at most {high:.10g}" if value > high == MOST else said
            raise argparse.ArgumentTypeError(
                f"expected a {'whole ' * (kind is int)}number {wanted}, got {short(text)}"
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


def parser_of(asked: type, name: str, question: str, *, shared: type) -> argparse.ArgumentParser:
    """The command line of a dataclass: a flag for each field, those of `shared` last.

    `name` is what the program is called in its help, `question` what its help begins with.
    """
    parser = Parser(
        prog=name, description=question.strip(), formatter_class=_Help, allow_abbrev=False
    )
    own, common = (
        parser.add_argument_group(title) for title in ("this study", "shared by all jobs")
    )
    hints = typing.get_type_hints(asked)
    names = {field.name for field in dataclasses.fields(shared)}
    for field in dataclasses.fields(asked):
        group = common if field.name in names else own
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
