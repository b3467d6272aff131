"""Many tables' pictures in one pass over a GPU's memory: quantise, inverse DCT, levels, pixels.

The plain way reads and writes every sample some fifteen times, which beside a fast network costs a
fifth of the search. Here each coefficient is read once and each pixel written once. All arithmetic
is the plain way's: float64 divisions, roundings to even, and sums that are exact in any order
(`core.codec.dct`), so the pictures are the same to the bit. Triton comes with PyTorch's builds for
CUDA; on a CPU, and where the kernel cannot be built, the plain way serves.
"""

import functools
import warnings

import torch
from torch import Tensor

from core import codec
from core.codec import dct
from core.constants import on
from core.shapes import Coefficients, Pixels

Size = tuple[int, int]

_BLOCKS = 32  # that a program decodes at a time: a product of [32, 64] and [64, 64]


def pictures(
    values: Coefficients, steps: Tensor, image_of: Tensor, table_of: Tensor, size: Size
) -> Pixels:
    """Picture i is image `image_of[i]` under table `table_of[i]`, float32 [k, c, height, width].

    Args:
        values: float64 [n, c, rows, columns, 8, 8], the images' coefficients.
        steps: [t, 8, 8], the tables.
        image_of: int64 [k].
        table_of: int64 [k].
        size: height and width of the images, in pixels.
    """
    make = launched if values.device.type == "cuda" and _builds(values.device) else plain
    return make(values, steps, image_of, table_of, size)


def plain(
    values: Coefficients, steps: Tensor, image_of: Tensor, table_of: Tensor, size: Size
) -> Pixels:
    """`pictures` by PyTorch's own operations."""
    step = steps[table_of][:, None, None, None]
    rounded = values[image_of].div_(step).round_().mul_(step)  # `codec.quantise` in place
    return codec.decode(rounded, *size)


@functools.cache
def _builds(device: torch.device) -> bool:
    """Whether the kernel is built on this device, and right: tried once, with ties among it."""
    values = torch.arange(-1024.0, 1024.0, dtype=torch.float64, device=device).mul_(0.5)
    values = values.reshape(2, 1, 4, 4, 8, 8)
    first, steps = torch.tensor([1, 0], device=device), torch.full((1, 8, 8), 3, device=device)
    given = values, steps, first, torch.zeros_like(first), (31, 30)
    try:
        right, why = torch.equal(launched(*given), plain(*given)), "it makes other pictures"
    except Exception as error:  # noqa: BLE001 - no Triton, no C compiler, a card it does not know
        right, why = False, f"{type(error).__name__}: {error}"
    if not right:
        warnings.warn(f"the codec's kernel does not serve on {device}: {why}", stacklevel=2)
    return right


def launched(
    values: Coefficients, steps: Tensor, image_of: Tensor, table_of: Tensor, size: Size
) -> Pixels:
    """`pictures` by the kernel."""
    from core.codec import kernel  # noqa: PLC0415 - Triton is not everywhere

    channels, rows, columns = values.shape[1:4]
    n_blocks = channels * rows * columns
    out = values.new_empty((len(image_of), channels, *size), dtype=torch.float32)
    kernel.decode[(len(image_of), -(-n_blocks // _BLOCKS))](
        values.contiguous(), steps.to(values.dtype).contiguous(), image_of, table_of,
        on(dct.BASIS, values.device), out, n_blocks, rows, columns, *size,
        n_at_once=_BLOCKS, enable_fp_fusion=False,
    )  # fmt: skip
    return out
