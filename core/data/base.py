"""What every data set looks like from outside, and the checks they share."""

from collections.abc import Sequence
from typing import Literal, Protocol, get_args, runtime_checkable

from core.errors import InputError
from core.shapes import Images8, Labels

Split = Literal["train", "search", "report"]
SPLITS: tuple[Split, ...] = get_args(Split)


@runtime_checkable
class Data(Protocol):
    """Labelled images in three disjoint splits that the seed fixes.

    `train` is for fitting weights, `search` for choosing a table, `report` for the published
    number. The order inside a split is random, so a prefix of it is a random sample.
    """

    @property
    def spec(self) -> str:
        """The text that opened it, such as "digits" or "imagefolder:/data/imagenet"."""

    @property
    def side(self) -> int:
        """Height and width of every image, in pixels."""

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a label is a position in this tuple."""

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 that changes when the images, their labels or the splits change."""

    def size(self, split: str) -> int:
        """How many images the split holds; an unknown split is an `InputError`."""

    def batch(self, split: str, indices: Sequence[int]) -> tuple[Images8, Labels]:
        """Images (uint8, n c h w) and labels (int64, n) at positions of a split, in that order.

        A position outside `0 .. size(split) - 1` is an `InputError`.
        """

    def name(self, split: str, index: int) -> str:
        """What a person would call one image: a path below the folder, or "digits/0123"."""

    @property
    def grouped_by(self) -> str:
        """What images of one group share, such as "tile"; empty where that is not known."""

    def group(self, split: str, index: int) -> str:
        """The group of an image: those of one group are no independent images.

        Where groups are not known, every image is its own: its `name`.
        """


def as_split(name: str) -> Split:
    """The split of that name, or an `InputError` that lists the three."""
    for split in SPLITS:
        if name == split:
            return split
    raise InputError(
        f"expected a split among {', '.join(SPLITS)}, got {name!r}.\n"
        "Hint: choose tables on `search` and publish numbers from `report`."
    )


def check_indices(split: str, indices: Sequence[int], size: int) -> None:
    """Raise an `InputError` if a position lies outside the split."""
    wrong = [int(i) for i in indices if not 0 <= i < size]
    if wrong:
        held = f"0 .. {size - 1}" if size else "none, for it is empty"
        raise InputError(
            f"expected positions of the {split} split ({held}), got {wrong[:5]}.\n"
            f"Hint: ask for fewer images; the split holds {size}."
        )


def only_side(spec: str, side: int | None, allowed: tuple[int, ...]) -> int:
    """The side asked for, or the first of those allowed; any other is an `InputError`."""
    if side is None:
        return allowed[0]
    if side not in allowed:
        raise InputError(
            f"expected side {' or '.join(map(str, allowed))} for {spec!r}, got {side}.\n"
            f"Hint: leave the side out to get {allowed[0]}."
        )
    return side
