"""What pictures cost: the bits of libjpeg's entropy-coded scan, with its standard Huffman tables.

Two readings. *Scan*, unless said else: the coded bits, in whole bytes, without the zeros stuffed
between them; headers and tables are left out, for of a picture of 32 pixels they would be nine
tenths of the file. *Marked*: all from the SOS marker to the end of the file, which adds 16 bytes
(12 for gray) and what is stuffed; it gives the rates that a thesis of 2021 prints.
"""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.codec.jpeg import Sampling
from core.defences.compression import Jpeg, Table
from core.defences.names import defence_by_name
from core.errors import InputError
from core.shapes import Images8, QTable

_SOS, _EOI, _STUFFED = b"\xff\xda", b"\xff\xd9", b"\xff\x00"
_SAMPLING: dict[Sampling, dict[str, object]] = {
    "444": {"subsampling": 0},
    "420": {"subsampling": 2},
}


def jpeg_bits(
    images: Images8,
    luminance: QTable,
    chrominance: QTable,
    *,
    sampling: Sampling = "420",
    marked: bool = False,
) -> Tensor:
    """Bits of each picture as JPEG: int64 [n]. Gray has no chrominance.

    InputError for other than 1 or 3 channels.
    """
    return _bits(images, [luminance, chrominance], _SAMPLING[sampling], marked=marked)


def table_bits(images: Images8, table: QTable, *, marked: bool = False) -> Tensor:
    """Bits of each picture with one table for all channels, without colour transform."""
    return _bits(images, [table], {"keep_rgb": True, **_SAMPLING["444"]}, marked=marked)


def bits_of(name: str, images: Images8, *, marked: bool = False) -> Tensor:
    """Bits behind a defence of a fixed codec, JPEG or a table in any space; else an InputError."""
    codec = defence_by_name(name)
    if isinstance(codec, Jpeg):
        tables = codec.luminance, codec.chrominance
        return jpeg_bits(images, *tables, sampling=codec.sampling, marked=marked)
    if not isinstance(codec, Table):
        raise InputError(
            f"expected a codec of fixed tables, got {name!r}.\n"
            "Hint: such as jpeg75, jpeg75-444, k3-of16-af116, k3-of16-af116@ycbcr420."
        )
    if codec.space == "rgb":
        return table_bits(images, codec.table, marked=marked)
    sampling: Sampling = "420" if codec.space == "ycbcr420" else "444"
    return jpeg_bits(images, codec.table, codec.table, sampling=sampling, marked=marked)


def _bits(images: Images8, tables: list[QTable], how: dict[str, object], *, marked: bool) -> Tensor:
    return torch.tensor([8 * len(_scan(image, tables, how, marked=marked)) for image in images])


def _scan(image: Tensor, tables: list[QTable], how: dict[str, object], *, marked: bool) -> bytes:
    channels = len(image)
    if channels not in (1, 3):
        raise InputError(
            f"expected 1 or 3 channels, got {channels}.\nHint: images are [n, c, h, w]."
        )
    levels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    picture = Image.fromarray(levels[..., 0] if channels == 1 else levels)
    steps = [table.round().int().flatten().tolist() for table in tables[:channels]]
    file = io.BytesIO()
    picture.save(file, "JPEG", qtables=steps, **(how if channels == 3 else {}))
    data = file.getvalue()
    start = data.index(_SOS)
    if marked:
        return data[start:]
    header = int.from_bytes(data[start + 2 : start + 4], "big")
    return data[start + 2 + header : -len(_EOI)].replace(_STUFFED, b"\xff")
