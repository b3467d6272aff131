"""Spectra of images."""

import torch
from jaxtyping import Float
from torch import Tensor

from core.corruptions import gray
from core.shapes import Images8


def log_spectra(images: Images8) -> Float[Tensor, "n h w"]:
    """log(1 + |DFT|) of each image's luma in levels 0..255, the constant part in the middle."""
    magnitude = torch.fft.fft2(gray(images.double())[:, 0]).abs()
    centred: Tensor = torch.fft.fftshift(magnitude, dim=(1, 2))
    return centred.log1p()
