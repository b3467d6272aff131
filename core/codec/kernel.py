"""The kernel of `core.codec.fused`. To be imported only where Triton is."""

import triton
import triton.language as tl


@triton.jit
def rounded(x):
    """To the nearest whole number, ties to even, of float64 below 2**51: as torch.round."""
    shift = 6755399441055744.0  # 1.5 * 2**52: the sum has no room for a fraction
    return (x + shift) - shift


@triton.jit
def decode(
    values, steps, image_of, table_of, basis, out,
    n_blocks, rows, columns, height, width, n_at_once: tl.constexpr,
):  # fmt: skip
    """Program (k, i) makes the i-th blocks of picture k."""
    picture = tl.program_id(0)
    image, table = tl.load(image_of + picture), tl.load(table_of + picture)
    block = tl.program_id(1) * n_at_once + tl.arange(0, n_at_once)
    place = tl.arange(0, 64)  # in a block, row by row
    there = (block < n_blocks)[:, None]
    read = values + (image * n_blocks + block)[:, None] * 64 + place[None, :]
    step = tl.load(steps + table * 64 + place)[None, :]
    value = rounded(tl.load(read, mask=there, other=0.0) / step) * step
    square = tl.load(basis + place[:, None] * 64 + place[None, :])  # [coefficient, sample]
    level = rounded(tl.dot(value, square, out_dtype=tl.float64) + 128.0).to(tl.float32)
    pixel = tl.div_rn(tl.minimum(tl.maximum(level, 0.0), 255.0), 255.0)
    channel, row, column = block // (rows * columns), block // columns % rows, block % columns
    y = row[:, None] * 8 + place[None, :] // 8
    x = column[:, None] * 8 + place[None, :] % 8
    plane = picture.to(tl.int64) * (n_blocks // (rows * columns)) + channel
    written = out + (plane[:, None] * height + y) * width + x
    tl.store(written, pixel, mask=there & (y < height) & (x < width))
