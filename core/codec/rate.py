"""What pictures cost: the bits of libjpeg's entropy-coded scan, with its standard Huffman tables.

Headers and tables are left out: of a picture of 32 pixels they would be nine tenths of the file.
"""

import io
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.codec import jpeg, qtable
from core.errors import InputError
from core.shapes import Images8, QTable

_SOS, _EOI = b"\xff\xda", b"\xff\xd9"


def jpeg_bits(images: Images8, luminance: QTable, chrominance: QTable) -> Tensor:
    """Bits of each picture's scan as JPEG, 4:2:0: int64 [n], whole bytes. Gray has no chrominance.

    InputError for other than 1 or 3 channels.
    """
    return torch.tensor([_scan_bits(image, [luminance, chrominance], {}) for image in images])


def table_bits(images: Images8, table: QTable) -> Tensor:
    """Bits of each picture's scan with one table for all channels, without colour transform."""
    rgb = {"keep_rgb": True, "subsampling": 0} if images.shape[1] == 3 else {}
    return torch.tensor([_scan_bits(image, [table], rgb) for image in images])


def bits_of(name: str, images: Images8) -> Tensor:
    """Bits behind a defence of a fixed codec: `jpegQ` or a table's name; else an InputError."""
    if (quality := name.removeprefix("jpeg")) != name and quality.isdecimal():
        tables = qtable.ijg(int(quality)), jpeg.ijg_chrominance(int(quality))
        return jpeg_bits(images, *tables)
    table = qtable.by_name(name)
    if table is None:
        raise InputError(f"expected a codec, got {name!r}.\nHint: such as jpeg75, k3-of16-af116.")
    return table_bits(images, table)


def _scan_bits(image: Tensor, tables: list[QTable], how: Mapping[str, object]) -> int:
    channels = len(image)
    if channels not in (1, 3):
        raise InputError(
            f"expected 1 or 3 channels, got {channels}.\nHint: images are [n, c, h, w]."
        )
    levels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    picture = Image.fromarray(levels[..., 0] if channels == 1 else levels)
    steps = [table.round().int().flatten().tolist() for table in tables[:channels]]
    file = io.BytesIO()
    picture.save(file, "JPEG", qtables=steps, **how)
    data = file.getvalue()
    start = data.index(_SOS)
    header = int.from_bytes(data[start + 2 : start + 4], "big")
    return 8 * (len(data) - start - 2 - header - len(_EOI))
