"""Occlusion maps: what a network makes of an image with a patch over each place in turn.

Source: Zeiler and Fergus (2014), "Visualizing and Understanding Convolutional Networks", 4.2.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from core.attacks.gradients import Differentiable
from core.errors import InputError
from core.parts import in_parts
from core.shapes import Labels, Pixels

# Images under a patch that are looked at together: what a CPU's caches hold, what fills a card.
CPU_BATCH_SIZE, GPU_BATCH_SIZE = 64, 512


def patches(side: int, *, patch: int, stride: int) -> Bool[Tensor, "places side side"]:
    """What a square of `patch` pixels covers at each place where it lies inside, row by row.

    InputError for a patch that does not fit, or a stride below 1.
    """
    if not 1 <= patch <= side or stride < 1:
        raise InputError(
            f"expected a patch of 1 to {side} pixels and a stride from 1, got {patch} and "
            f"{stride}.\nHint: a patch of 7 at every second place, --patch 7 --stride 2."
        )
    tops = torch.arange(0, side - patch + 1, stride)
    pixels = torch.arange(side)
    covered = (pixels >= tops[:, None]) & (pixels < tops[:, None] + patch)  # [tops, side]
    return (covered[:, None, :, None] & covered[None, :, None, :]).flatten(0, 1)


@torch.no_grad()
def occlusion_maps(
    logits_of: Differentiable,
    pixels: Pixels,
    classes: Labels,
    covered: Bool[Tensor, "places side side"],
    *,
    fill: float,
) -> Float[Tensor, "n places"]:
    """Probability of each image's class where patches of the level `fill`, in [0, 1], cover it."""
    n_places, covered = len(covered), covered.to(pixels.device)

    def looked_at(part: slice) -> Tensor:
        number = torch.arange(part.start, part.stop, device=pixels.device)
        image, place = number // n_places, number % n_places
        hidden = torch.where(covered[place, None], fill, pixels[image])
        return logits_of(hidden).softmax(1).gather(1, classes[image, None])[:, 0]

    size = CPU_BATCH_SIZE if pixels.device.type == "cpu" else GPU_BATCH_SIZE
    found = in_parts(looked_at, len(pixels) * n_places, size)
    return torch.cat(found).reshape(len(pixels), n_places)
