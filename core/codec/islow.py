"""libjpeg's own 8x8 transform, the accurate integer DCT ("islow"), to the last bit.

The C code multiplies by 13-bit constants and rounds once in each of its two passes. Within a
pass its butterflies are one matrix of whole numbers: a pass is a matrix product and a rounding,
and float64 holds both exactly.

Source: libjpeg-turbo, jfdctint.c and jidctint.c; Loeffler, Ligtenberg and Moschytz (1989).
"""

import torch
from torch import Tensor

from core.codec import Rounding
from core.constants import on
from core.shapes import Coefficients, Levels

# The butterflies of jfdctint.c multiplied out: rows are frequencies, columns samples, in units
# of 2**-13. Its transpose is jidctint.c.
_BUTTERFLIES = torch.tensor(
    [
        [8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192],
        [11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363],
        [10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703],
        [9633, -2259, -11362, -6436, 6436, 11362, 2259, -9633],
        [8192, -8192, -8192, 8192, 8192, -8192, -8192, 8192],
        [6437, -11362, 2261, 9633, -9633, -2261, 11362, -6437],
        [4433, -10704, 10704, -4433, -4433, 10704, -10704, 4433],
        [2260, -6436, 9633, -11363, 11363, -9633, 6436, -2260],
    ],
    dtype=torch.float64,
)

# Sums to be rounded are multiples of 2**-18: a nudge of 2**-20 decides ties and nothing else.
NUDGE = 2.0**-20

# The two passes of each direction, all times rows: between them blocks are transposed.
_ROWS, _COLUMNS = _BUTTERFLIES.T / 2**11, _BUTTERFLIES.T / 2**15
_COLUMNS_BACK, _ROWS_BACK = _BUTTERFLIES / 2**11, _BUTTERFLIES / 2**18


def half_up(values: Tensor, rounding: Rounding) -> Tensor:
    """Nearest whole number of multiples of 2**-18; ties go up, as C's (x + half) >> n does."""
    return rounding(values + NUDGE)


def half_away(values: Tensor, rounding: Rounding) -> Tensor:
    """Nearest whole number; ties go away from zero, as libjpeg's quantiser does (jcdctmgr.c)."""
    return rounding(values + NUDGE * values.detach().sign())


def dct8(levels: Levels, *, rounding: Rounding = torch.round) -> Coefficients:
    """Coefficients of whole levels, in multiples of 1/8; within 0.3 of the exact DCT."""
    rows = half_up(_times(levels, _ROWS), rounding)
    return half_up(_times(rows.mT, _COLUMNS), rounding).mT / 8


def idct8(coefficients: Coefficients, *, rounding: Rounding = torch.round) -> Levels:
    """Whole levels of whole (dequantised) coefficients, not yet clamped."""
    columns = half_up(_times(coefficients.mT, _COLUMNS_BACK), rounding).mT
    return half_up(_times(columns, _ROWS_BACK), rounding)


def _times(blocks: Levels, matrix: Tensor) -> Levels:
    """One product for all blocks: batched ones of 8x8 matrices starve a GPU."""
    return (blocks.reshape(-1, 8) @ on(matrix, blocks.device)).reshape(blocks.shape)
