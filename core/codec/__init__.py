"""The codec: images through JPEG-style quantization, exactly (`rgb`); libjpeg's JPEG (`jpeg`)."""

from core.codec.rgb import (
    Rounding,
    blocks,
    coefficients,
    compress,
    decode,
    planes,
    quantise,
    quantise_,
    round_through,
    to_images8,
    to_pixels,
)

__all__ = [
    "Rounding",
    "blocks",
    "coefficients",
    "compress",
    "decode",
    "planes",
    "quantise",
    "quantise_",
    "round_through",
    "to_images8",
    "to_pixels",
]
