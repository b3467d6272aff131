"""The defence as a module: put it in front of any model, or into a torchvision pipeline.

from qtable_sweeps.defences import TableDefence
robust = torch.nn.Sequential(TableDefence.load("winner.txt"), model)
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from core import codec
from core.codec import Rounding, qtable, round_through
from core.errors import InputError

TOLERANCE = 1e-3  # a quarter of an 8-bit level: what arithmetic, of 16 bits too, rounds by


class TableDefence(nn.Module):
    """Images through the codec with one quantization table; the same type and range out.

    Takes [..., c, h, w] tensors of 1 or 3 channels, plain or torchvision `tv_tensors.Image`: uint8
    in 0..255, or floating point in [0, 1], up to `TOLERANCE`. Works batch-wise on any device and
    composes with `torchvision.transforms.v2`: place it after `v2.ToImage()` and before
    normalisation.
    """

    table: Tensor

    def __init__(self, table: Tensor, *, rounding: Rounding = round_through) -> None:
        """`table`: 8x8 steps 1..255, natural order. InputError where it is not.

        `rounding`: what a gradient meets (`core.codec.rounding`); torch.round: none passes.
        """
        super().__init__()
        self.register_buffer("table", qtable.check(table))
        self.rounding = rounding

    @classmethod
    def load(cls, path: str | Path) -> "TableDefence":
        """From a file in the form of `cjpeg -qtables`, such as a search exports."""
        return cls(qtable.load(path))

    def forward(self, images: object) -> Tensor:
        """Compress and decompress. InputError for other types, ranges or shapes."""
        images = check_images(images)
        batch = images.as_subclass(Tensor).reshape(-1, *images.shape[-3:])
        out = codec.compress(codec.to_pixels(batch), self.table, rounding=self.rounding)
        out = codec.to_images8(out) if batch.dtype == torch.uint8 else out.to(batch.dtype)
        out = out.reshape(images.shape)
        return out if type(images) is Tensor else type(images)(out)

    def extra_repr(self) -> str:
        """The steps' range, for print(model)."""
        return f"steps {int(self.table.min())}..{int(self.table.max())}"


def check_images(images: object) -> Tensor:
    """The [..., c, h, w] images, values within `TOLERANCE` of [0, 1] set to its ends.

    InputError that names the cause for what is no image; it forces a device sync.
    """
    if not isinstance(images, Tensor) or not (
        images.dtype == torch.uint8 or images.is_floating_point()
    ):
        raise _wrong(images, "torchvision's v2.ToImage() makes them of PIL images and arrays")
    _check_shape(images)
    if images.dtype == torch.uint8 or not images.numel():
        return images
    low, high = (float(bound) for bound in images.detach().aminmax())
    if low >= 0 and high <= 1:
        return images
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:
        return images.clamp(0, 1)
    hint = "these look mean/std-normalised; put the defence before the normalisation"
    if math.isnan(low) or math.isinf(low) or math.isinf(high):
        hint = "what made them divided by zero or overflowed"
    elif low >= -TOLERANCE and 2 < high <= 256:
        hint = "these look like levels 0..255: divide by 255"
    elif low >= -0.5 and high <= 1.5:
        hint = "bicubic resizing and some attacks overshoot: images.clamp(0, 1)"
    raise InputError(f"pixels must lie in [0, 1], got [{low:.7g}, {high:.7g}].\nHint: {hint}.")


def _check_shape(images: Tensor) -> None:
    if images.ndim >= 3 and images.shape[-3] in (1, 3) and 0 not in images.shape[-2:]:
        return
    hint = "torchvision's v2.ToImage() makes them"
    if images.ndim >= 3 and images.shape[-1] in (1, 3, 4):
        hint = "these look like [h, w, c]: images.movedim(-1, -3)"
    elif images.ndim >= 3 and images.shape[-3] == 4:
        hint = "these look like RGBA: images[..., :3, :, :] leaves transparency out"
    raise _wrong(images, hint)


def _wrong(images: object, hint: str) -> InputError:
    return InputError(
        "expected [..., c, h, w] images of 1 or 3 channels, uint8 or floating point, got "
        f"{codec.said_of(images)}.\nHint: {hint}."
    )
