"""Defences by name, as flags and rows call them."""

import re
from collections.abc import Callable

from core.codec import qtable
from core.defences.base import Defence, Nothing
from core.defences.compression import SPACES, Jpeg, Shield, Table
from core.defences.smoothing import GaussianBlur, GaussianNoise
from core.defences.tvm import TotalVariation
from core.errors import InputError, UnknownNameError
from core.learned.names import kind_of
from core.models.denoiser import is_denoiser

_TABLE = re.compile(
    r"(fd|ijg\d+|uniform\d+|k\d+-of\d+-af\d+|m[0-9a-f]{16}-of\d+-af\d+)(@q\d+)?", re.ASCII
)


Stored = Callable[[str], Defence]


def none_stored(name: str) -> Defence:
    """InputError: who asks for what was learned must bring its weights."""
    job = "denoise" if is_denoiser(name) else "rate_distortion"
    raise InputError(
        f"{name!r} is a defence that was learned, and its weights are not at hand here.\n"
        f"Hint: jobs/{job}.py trains such; studies of the same store and data know them as "
        "defences."
    )


def table_and_space(name: str) -> tuple[str, str]:
    """A table's own name and its colour space, which is rgb unless the name says another."""
    head, _, tail = name.rpartition("@")
    return (head, tail) if tail in SPACES else (name, "rgb")


def defence_by_name(name: str, stored: Stored = none_stored) -> Defence:
    """The defence called `name`; InputError for any other.

    - `none`;
    - `jpegQ`, `jpegQ-444`: libjpeg's JPEG at quality Q, 4:2:0 or 4:4:4;
    - `fd`: Feature Distillation's table in YCbCr 4:4:4; `fd@rgb`: in RGB, as its authors' code;
    - TABLE, TABLE@SPACE: any table that `core.codec.qtable.by_name` knows, the same for all
      channels, in `rgb` (unless said else), `ycbcr` or `ycbcr420`;
    - `blurK`: Gaussian blur by a kernel of side K;
    - `bls...`, `bmhj...`, `denoiser...`: a learned codec or a denoiser, which `stored` finds by
      the whole name;
    - `tvm`, `shield`, `smoothS` and `noiseS` (Gaussian noise of deviation S/255 or S): randomised.
    """
    plain: dict[str, type[Defence]] = {"none": Nothing, "tvm": TotalVariation, "shield": Shield}
    if name in plain:
        return plain[name]()
    if kind_of(name) or is_denoiser(name):
        return stored(name)
    if match := re.fullmatch(r"jpeg(\d{1,3})(-444)?", name, re.ASCII):
        return Jpeg(qtable.quality_in(name, match[1]), sampling="444" if match[2] else "420")
    if match := re.fullmatch(r"(smooth|noise)(\d{1,9}(?:\.\d{1,9})?)", name, re.ASCII):
        return GaussianNoise(float(match[2]) * (255 if match[1] == "noise" else 1))
    if match := re.fullmatch(r"blur(\d{1,3})", name, re.ASCII):
        return GaussianBlur(int(match[1]))
    table_name, space = table_and_space(name)
    table = qtable.by_name(table_name) if _TABLE.fullmatch(table_name) else None
    if table is None:
        raise UnknownNameError(
            f"no defence is called {name!r}.\n"
            "Hint: names are none, jpeg75, jpeg75-444, fd, tvm, shield, smooth8, noise0.05, blur3, "
            "or a table such "
            f"as k3-of16-af51, alone or with a colour space: @{', @'.join(SPACES)}."
        )
    return Table(table, space="ycbcr" if name == "fd" else space)
