"""The best of all images that an attack has tried."""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.attacks.gradients import Differentiable, of_rows
from core.attacks.norms import Norm
from core.attacks.rounding import round_within
from core.constants import white
from core.shapes import Images8, Labels, PerImage, Pixels

_NOTHING, _BROKEN = -1, 2


@dataclass
class Kept:
    """For each image the best one tried so far, the pixels themselves at first.

    One that is misclassified as 8-bit image within the budget (`round_within`) beats one that is so
    before rounding only, and that one any other; among equals the larger value wins.
    """

    logits_of: Differentiable
    pixels: Pixels
    images: Images8
    labels: Labels
    eps_255: float
    norm: Norm
    attacked: Pixels
    rank: Tensor  # -1 nothing tried, 0 classified rightly, 1 misclassified, 2 in 8 bits too: [n]
    value: PerImage

    @classmethod
    def start(
        cls,
        logits_of: Differentiable,
        pixels: Pixels,
        labels: Labels,
        *,
        eps_255: float,
        norm: Norm,
    ) -> "Kept":
        """Nothing tried yet."""
        images = (pixels * 255).round().to(torch.uint8)
        rank = torch.full_like(labels, _NOTHING)
        value = torch.full(labels.shape, -torch.inf, dtype=torch.float64, device=pixels.device)
        return cls(logits_of, pixels, images, labels, eps_255, norm, pixels.clone(), rank, value)

    def right(self) -> Tensor:
        """Rows of the images for which no misclassified 8-bit image is kept yet."""
        return (self.rank < _BROKEN).nonzero().flatten()

    def offer(self, rows: Tensor, attacked: Pixels, *, wrong: Tensor, value: PerImage) -> None:
        """Images tried, within the budget; `wrong` says which the function misclassifies.

        The function is asked once more, for the rounded ones, where that may decide.
        """
        rank, value = wrong.long(), value.double()
        ask = wrong & ((self.rank[rows] < _BROKEN) | (value > self.value[rows]))
        rank[ask] += self._rounded_wrong(rows[ask], attacked[ask])
        equal = rank == self.rank[rows]
        better = (rank > self.rank[rows]) | (equal & (value > self.value[rows]))
        rows = rows[better]
        self.attacked[rows] = attacked[better]
        self.rank[rows], self.value[rows] = rank[better], value[better]

    def _rounded_wrong(self, rows: Tensor, attacked: Pixels) -> Tensor:
        if not len(rows):
            return rows
        rounded = round_within(attacked, self.images[rows], eps_255=self.eps_255, norm=self.norm)
        with torch.no_grad():
            logits = of_rows(self.logits_of, rows)(rounded.to(attacked) / white(attacked.device))
        return (logits.argmax(1) != self.labels[rows]).long()
