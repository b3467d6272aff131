"""Defences that compress: our codec, JPEG with any table, and SHIELD's local quality."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from core import codec
from core.codec import Rounding, jpeg, qtable, round_through
from core.defences.base import Defence, Generators
from core.errors import InputError
from core.seeds import one_each
from core.shapes import Pixels, QTable

Space = Literal["rgb", "ycbcr", "ycbcr420"]
SPACES: tuple[Space, ...] = get_args(Space)
SHIELD_QUALITIES = (20, 40, 60, 80)


class Table(Defence):
    """One quantization table for all channels, in RGB (our codec) or YCbCr (libjpeg's JPEG).

    For batches of pixels inside studies; `TableDefence` takes images of any type.
    """

    quantises = True
    table: Tensor

    def __init__(self, table: QTable, *, space: str = "rgb") -> None:
        """`space` is one of SPACES: "rgb", "ycbcr" (4:4:4) or "ycbcr420". Else InputError."""
        super().__init__()
        if space not in SPACES:
            raise InputError(
                f"expected a colour space among {', '.join(SPACES)}, got {space!r}.\n"
                "Hint: rgb is the codec of the defensive tables."
            )
        self.space = space
        self.register_buffer("table", qtable.check(table))

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """Compressed and decompressed pixels, whole multiples of 1/255."""
        if self.space == "rgb":
            return codec.compress(pixels, self.table, rounding=rounding)
        sampling: jpeg.Sampling = "420" if self.space == "ycbcr420" else "444"
        return jpeg.compress(pixels, self.table, self.table, sampling=sampling, rounding=rounding)


class Jpeg(Defence):
    """JPEG at a quality: libjpeg's picture with the IJG tables of luminance and chrominance."""

    quantises = True
    luminance: Tensor
    chrominance: Tensor

    def __init__(self, quality: int, *, sampling: jpeg.Sampling = "420") -> None:
        """InputError where the quality is not in 1..100."""
        super().__init__()
        self.sampling = sampling
        self.register_buffer("luminance", qtable.ijg(quality))
        self.register_buffer("chrominance", jpeg.ijg_chrominance(quality))

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """Compressed and decompressed pixels, whole multiples of 1/255."""
        tables = self.luminance, self.chrominance
        return jpeg.compress(pixels, *tables, sampling=self.sampling, rounding=rounding)


class Shield(Defence):
    """Stochastic local quantization: each 8x8 square comes from JPEG at a random quality.

    The whole image is compressed at every quality (4:2:0), then each square takes its pixels from
    one of the pictures, all equally likely. The paper's vaccinated networks are an ensemble behind.

    Source: Das et al. (2018), "SHIELD: Fast, Practical Defense and Vaccination for Deep Learning
    using JPEG Compression", section 3.2.
    """

    randomised = quantises = True

    def __init__(self, qualities: Sequence[int] = SHIELD_QUALITIES) -> None:
        """InputError where a quality is not in 1..100, or there is none."""
        super().__init__()
        if not qualities:
            raise InputError(
                "SHIELD needs a quality or more, got none.\nHint: the paper's are 20, 40, 60, 80."
            )
        self.members = torch.nn.ModuleList(Jpeg(quality) for quality in qualities)

    def forward(
        self, pixels: Pixels, generators: Generators = None, *, rounding: Rounding = round_through
    ) -> Pixels:
        """One draw; whole multiples of 1/255."""
        height, width = pixels.shape[-2:]
        squares = (len(self.members), (-(-height // 8), -(-width // 8)))
        chosen = [torch.randint(*squares, generator=g) for g in one_each(generators, len(pixels))]
        whole = torch.stack(chosen).repeat_interleave(8, -2).repeat_interleave(8, -1)
        place = whole[:, None, :height, :width].to(pixels.device)
        out = torch.zeros_like(pixels)
        for i, member in enumerate(self.members):
            out = torch.where(place == i, member(pixels, rounding=rounding), out)
        return out
