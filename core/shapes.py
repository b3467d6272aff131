"""Tensor types: each name carries layout, unit and range."""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Pixels = Float[Tensor, "n c h w"]  # colour or gray in [0, 1], never mean/std-normalised
Images8 = UInt8[Tensor, "n c h w"]  # the same in whole levels 0..255, as a file holds them
Images = Images8 | Pixels  # `core.codec.to_pixels` makes pixels of either
Change = Float[Tensor, "1 c h w"]  # one change of pixels, the same for all images
Labels = Int[Tensor, " n"]  # class index
Logits = Float[Tensor, "n classes"]  # before softmax
PerImage = Float[Tensor, " n"]  # one number for each image
Probabilities = Float[Tensor, "n classes"]  # each row sums to 1
Levels = Float[Tensor, "*grid 8 8"]  # JPEG samples, level-shifted to [-128, 127]
Coefficients = Float[Tensor, "*grid 8 8"]  # DCT of Levels; [..., 0, 0] is DC
QTable = Float[Tensor, "8 8"]  # quantiser steps 1..255, natural (not zigzag) order
