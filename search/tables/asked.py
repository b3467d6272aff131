"""What the command line of the table search asks."""

from dataclasses import dataclass
from typing import Literal

from core.known import N_DIAGONALS
from search import flags
from search.command_line import MOST, between, flag, one_of, points, whole_numbers


@dataclass(frozen=True, kw_only=True)
class Flags(flags.Searched):
    """Which tables are searched, and how."""

    patterns: tuple[int, ...] = flag(
        tuple(range(1, 15)),
        "partition patterns k, such as 1-14 or 1,3,5",
        "K",
        parse=whole_numbers(1, N_DIAGONALS),
    )
    qs_af: tuple[int, ...] = flag(
        tuple(range(1, 122, 5)),
        "steps of the adversary-favoured band, such as 1-121/5",
        "STEP",
        parse=whole_numbers(1, 255),
    )
    qs_of: int = flag(
        16,
        "step of the original-favoured band: 16 x eps x 255 at eps = 0.004",
        "STEP",
        parse=between(1, 255, int),
    )
    bands: Literal["diagonal", "measured"] = flag(
        "diagonal",
        "what pattern k keeps: the first k diagonals, or as many coefficients of smallest "
        "delta_a / delta_b, measured in Y on the images of the search",
    )
    space: Literal["rgb", "ycbcr", "ycbcr420"] = flag(
        "rgb",
        "that tables quantise in: the paper's codec, or libjpeg's JPEG, 4:4:4 or 4:2:0, with the "
        "table for all channels",
    )
    rate: int = flag(
        0,
        "benign images whose bits are counted under every table and JPEG's qualities: which table "
        "is a compression too?",
        parse=between(0, MOST, int),
    )
    flat: tuple[int, ...] = flag(
        (),
        "also score one step for all coefficients, such as 17-60: what does a partition gain?",
        "STEP",
        parse=whole_numbers(1, 255),
    )
    max_decline: float = flag(
        1.0, "a table is feasible when Acc_dec is below this", "POINTS", parse=points
    )
    strategy: Literal["exhaustive", "best-first"] = flag(
        "exhaustive", "the whole surface, or the same winner, proved, for less work"
    )
    precision: str = flag(
        "fp32",
        "arithmetic of the network; screened: bf16, fp16 or tf32, what is cheapest, and fp32 for "
        "every picture whose two likeliest classes are close, so that the answers are those of "
        "fp32; fp32 alone where nothing is faster",
        "fp32|bf16|screened",
        parse=one_of("fp32", "bf16", "screened"),
    )
    report_benign: int | None = flag(None, "held-out images; 1000 or all")
    report_adversarial: int = flag(200, "held-out examples")
    block: int = flag(50, "images per cell")

    @property
    def best_first(self) -> bool:
        """Whether tables that cannot win are left alone."""
        return self.strategy == "best-first"
