"""The defence as a module: put it in front of any model, or into a torchvision pipeline.

from qtable_sweeps.defences import TableDefence
robust = torch.nn.Sequential(TableDefence.load("winner.txt"), model)
"""

from pathlib import Path

from torch import Tensor, nn

from core import codec
from core.codec import Rounding, qtable, round_through
from core.defences.images import Kind, of_any_kind


class TableDefence(nn.Module):
    """Images through the codec with one quantization table; the same type and range out.

    Takes PIL images and tensors, see `core.defences.images.of_any_kind`. Works batch-wise on any
    device and composes with `torchvision.transforms.v2`: place it before normalisation.
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

    def forward(self, images: Kind) -> Kind:
        """Compress and decompress. InputError for other types, ranges or shapes."""
        return of_any_kind(
            lambda pixels: codec.compress(pixels, self.table, rounding=self.rounding), images
        )

    def extra_repr(self) -> str:
        """The steps' range, for print(model)."""
        return f"steps {int(self.table.min())}..{int(self.table.max())}"
