"""What is done to images of a training set or a test set, by name.

- the name of any defence, as `core.defences.defence_by_name` reads it: `none`, `jpeg40`,
  `noise0.05`, `blur3`, a table, a learned codec;
- a corruption and its severity: `fog@3`;
- `augmix`, and `patch25-0.1`: noise of deviation 0.1 in a square of 25 pixels;
- `A+B`: the images after A, then the same after B, twice as many;
- `3*A+1*B`: each image once, three of four after A, the others after B.
"""

import re
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from core import codec
from core.augmentation import AUGMIX, augmix, patch_gaussian, patch_of
from core.corruptions import Textures, check, corrupted
from core.defences import defence_by_name
from core.defences.names import Stored, none_stored
from core.errors import InputError
from core.known import CORRUPTIONS
from core.learned.names import kind_of, piece_of, read
from core.shapes import Images8

_SHARE = re.compile(r"(?:([1-9]\d{0,3})\*)?(.*)", re.ASCII | re.DOTALL)


def parts_of(name: str) -> tuple[str, ...]:
    """What is joined or mixed: the names between plus signs, without their shares.

    For training sets; what each is called is not looked at. InputError where one is empty or twice
    there, or where some have shares and others none.
    """
    found = [_SHARE.fullmatch(part) for part in name.split("+")]
    shares, parts = zip(*((part[1], part[2]) for part in found if part), strict=True)
    mixed = any(shares) and (len(parts) == 1 or not all(shares))
    mixed |= any("*" in part for part in parts)  # after what is no share
    if not all(parts) or len(set(parts)) < len(parts) or mixed:
        raise InputError(
            f"expected different names of transforms with + between them, all with a share in "
            f"1..9999 and a * before them or none, got {name!r}.\n"
            "Hint: none+jpeg40 are the images as they are and the same after JPEG; in "
            "3*none+1*jpeg40 each stands once, one of four after JPEG."
        )
    return tuple(parts)


def shares_of(name: str) -> tuple[int, ...]:
    """Of each of `parts_of` its share of the images; empty where whole copies are joined."""
    found = (_SHARE.fullmatch(part) for part in name.split("+"))
    return tuple(int(part[1]) for part in found if part and part[1])


def mixed(shares: Sequence[int], n: int, generator: Generator) -> Tensor:
    """Which part each of n images is of, [n]: as many of each as shares say, rounded, at random."""
    ends = torch.tensor(shares).cumsum(0) * n / sum(shares)
    parts = torch.searchsorted(ends.round(), torch.arange(n).float(), right=True)
    return parts[torch.randperm(n, generator=generator)]


def corruption_of(name: str) -> tuple[str, int] | None:
    """The corruption and severity that a name such as `fog@3` means; None for other names.

    InputError for a severity out of range.
    """
    stem, at, severity = name.partition("@")
    if stem not in CORRUPTIONS:
        return None
    if not at or not (severity.isascii() and severity.isdigit()):
        raise InputError(
            f"expected {stem} with its severity, such as {stem}@3, got {name!r}.\n"
            "Hint: severities are 1..5."
        )
    check(stem, int(severity))
    return stem, int(severity)


def check_transform(name: str, *, channels: int = 3, frost: bool = True) -> None:
    """InputError unless `transformed` takes the name; `frost`: whether there are textures.

    Of a learned codec the form of its name alone.
    """
    if kind_of(name):
        if not piece_of(name):
            read(name)
        return
    if name == AUGMIX or patch_of(name):
        return
    if found := corruption_of(name):
        check(*found, channels=channels, frost=frost)
        return
    try:
        defence_by_name(name)
    except InputError as cause:
        if "no defence is called" not in str(cause):
            raise
        raise InputError(
            f"no transform of images is called {name!r}.\n"
            "Hint: none, jpeg40, noise0.05, blur3, any defence, augmix, patch25-0.1, or a "
            "corruption with its severity such as fog@3."
        ) from cause


@torch.inference_mode()
def transformed(
    images: Images8,
    name: str,
    *,
    generators: Sequence[Generator],
    kind: str = "cifar10-c",
    textures: Textures = (),
    stored: Stored = none_stored,
) -> Images8:
    """The images after what the name says, in whole levels; generators are one for each image.

    Of a corruption `kind` and `textures` are as `corrupted` takes them, and levels are cut; of all
    else they are rounded. `stored` finds learned codecs. InputError for a name that is none.
    """
    if found := corruption_of(name):
        return corrupted(images, *found, generators=generators, kind=kind, textures=textures)
    if name == "none":
        return images
    if name == AUGMIX:
        return augmix(images, generators)
    if patch := patch_of(name):
        side, sigma = patch
        return patch_gaussian(images, side=side, sigma=sigma, generators=generators)
    defence = defence_by_name(name, stored)
    return codec.to_images8(defence(codec.to_pixels(images), generators))
