"""Images that look alike: one that a search has seen is no new one in its report."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from core.shapes import Images8

_SIDE = 8  # of a thumbnail
_ALIKE = 0.96  # correlation of thumbnails: copies, neighbouring frames, but no whole crops
_FLAT = 2.0  # levels of standard deviation, below which there is nothing to compare


def thumbnails(images: Images8) -> Float[Tensor, "n 64"]:
    """Gray, 8 x 8, each of mean 0 and length 1, so that brightness does not count; flat ones 0."""
    gray = images.float().mean(1, keepdim=True)
    small = torch.nn.functional.adaptive_avg_pool2d(gray, _SIDE).flatten(1)
    small = small - small.mean(1, keepdim=True)
    flat = small.std(1, keepdim=True) < _FLAT
    return torch.nn.functional.normalize(small, dim=1).masked_fill(flat, 0)


def alike(seen: Float[Tensor, "n 64"], new: Float[Tensor, "m 64"]) -> Int64[Tensor, "pairs 2"]:
    """Positions of each new image that looks like one of those seen, and of the most alike."""
    best, of = (seen @ new.T).max(0)
    (found,) = (best > _ALIKE).nonzero(as_tuple=True)
    return torch.stack([of[found], found], 1)
