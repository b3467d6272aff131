"""The defence as a module: put it in front of any model, or into a torchvision pipeline.

from core.defences import TableDefence
robust = torch.nn.Sequential(TableDefence.load("winner.txt"), model)
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from core import codec
from core.codec import Rounding, qtable, round_through
from core.errors import InputError


class TableDefence(nn.Module):
    """Images through the codec with one quantization table; the same type and range out.

    Takes [..., c, h, w] tensors, plain or torchvision `tv_tensors.Image`: uint8 in 0..255, or
    floating point in [0, 1]. Works batch-wise on any device and composes with
    `torchvision.transforms.v2`: place it after `v2.ToImage()` and before normalisation.
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

    def forward(self, images: Tensor) -> Tensor:
        """Compress and decompress. InputError for other types, ranges or shapes."""
        check_images(images)
        batch = images.as_subclass(Tensor).reshape(-1, *images.shape[-3:])
        out = codec.compress(codec.to_pixels(batch), self.table, rounding=self.rounding)
        out = codec.to_images8(out) if batch.dtype == torch.uint8 else out.to(batch.dtype)
        out = out.reshape(images.shape)
        return out if type(images) is Tensor else type(images)(out)

    def extra_repr(self) -> str:
        """The steps' range, for print(model)."""
        return f"steps {int(self.table.min())}..{int(self.table.max())}"


def check_images(images: Tensor) -> None:
    """Raise an `InputError` unless these are [..., c, h, w] images; it forces a device sync."""
    if images.ndim < 3 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise InputError(
            "expected [..., c, h, w] images, uint8 or floating point, got "
            f"{images.dtype} {tuple(images.shape)}.\nHint: torchvision's v2.ToImage() makes them."
        )
    if images.is_floating_point() and images.numel():
        low, high = (float(bound) for bound in images.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise InputError(
                f"pixels must lie in [0, 1], got [{low:.2f}, {high:.2f}].\n"
                "Hint: these look mean/std-normalised; put the defence before the normalisation."
            )
