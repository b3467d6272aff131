"""A network's classes as in float32, most of them found in lower precision.

Lower precision moves logits a little. So a picture whose two likeliest classes lie further apart
than that keeps its class, and all others are classified again in float32. A random sample of those
that keep their class is classified again too, to see whether the margin is wide enough.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.parts import in_parts
from core.shapes import Logits, Pixels

Classifier = Callable[[Pixels], Logits]
HOW = ("rough", "confirmed", "audited", "missed")  # see `Screen.classes`
AUDITED = 1 / 64  # of the pictures that are not confirmed
_WIDENED = 1.5  # times what was seen to move
_LIKELIEST = 5  # classes that may become the first


@dataclass(frozen=True)
class Screen:
    """A network twice, and the margin of logits below which the exact one decides."""

    exact: Classifier
    rough: Classifier
    margin: float

    def classes(
        self, pixels: Callable[[slice | Tensor], Pixels], n: int, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """The class of each of n pictures, int64 [n], and how it was found, places in HOW.

        `rough`, its margin being wide; `confirmed` in float32; `audited`: both, for the sample, and
        the same; `missed`: the sample's that float32 takes for another class.
        """
        parts = in_parts(lambda part: _top2(self.rough(pixels(part))), n, batch_size)
        found, margins = (torch.cat(both) for both in zip(*parts, strict=True))
        narrow = is_narrow(margins, self.margin)
        drawn = torch.Generator().manual_seed(n + int(found.sum()))  # by what the pictures are
        draws = torch.rand(n, generator=drawn).to(margins.device)
        again = (narrow | (draws < AUDITED)).nonzero()[:, 0]
        how = torch.zeros(n, dtype=torch.int64, device=found.device)
        if len(again):
            exact = _exact_classes(self.exact, pixels, again, batch_size)
            sampled = torch.where(exact == found[again], HOW.index("audited"), HOW.index("missed"))
            how[again] = torch.where(narrow[again], HOW.index("confirmed"), sampled)
            found[again] = exact
        return found, how


def _exact_classes(
    network: Classifier, pixels: Callable[[slice | Tensor], Pixels], at: Tensor, batch_size: int
) -> Tensor:
    return torch.cat(
        in_parts(lambda part: network(pixels(at[part])).argmax(1), len(at), batch_size)
    )


def _top2(logits: Logits) -> tuple[Tensor, Tensor]:
    best = logits.topk(2, 1)
    return best.indices[:, 0], best.values[:, 0] - best.values[:, 1]


def is_narrow(margins: Tensor, least: float) -> Tensor:
    """Where the exact network decides: also where a margin is infinite or no number."""
    return ~(margins.isfinite() & (margins >= least))


def n_narrow(rough: Logits, least: float) -> int:
    """How many pictures the exact network would decide."""
    return int(is_narrow(_top2(rough)[1], least).sum())


def margin(rough: Logits, exact: Logits) -> float:
    """The margin that pictures like these need: 1.5 times what their likeliest classes moved by.

    How far each of the five likeliest of `rough`, [n, c], moved towards the first, or away from it.
    """
    at = rough.topk(min(_LIKELIEST, rough.shape[1]), 1).indices
    before, after = (one.gather(1, at[:, :1]) - one.gather(1, at) for one in (rough, exact))
    return _WIDENED * float((before - after).abs().max())


def rounded_up(margin: float) -> float:
    """To two digits, for it stands in names and rows."""
    return float(f"{1.05 * margin + 1e-6:.1e}")
