"""A screened search: bfloat16 where it is sure, float32 where it is not, and a look at whether.

The margin below which float32 decides is measured on pictures of the search, and so is whether
bfloat16 is any faster here. Cells name the margin, so a wider one makes other cells.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core import codec
from core.codec import screen
from core.codec.screen import Classifier, Screen
from core.defences import defence_by_name
from results import Answer, Rows, schema
from search.engine.study import Place, Study
from search.inputs.loading import SCREENED, BlockCell, Images, load_block
from search.inputs.pictures import blocks
from search.lab import Lab
from search.progress import say
from search.tables.plan import Question

FASTER = 0.8  # of float32's seconds; above it the confirmations eat what is gained
_PICTURES = 64  # of a table, of benign images and of attacked ones
_TABLES = 5  # spread over the search's, and no table


@dataclass(frozen=True, kw_only=True)
class Cell(BlockCell):
    """Pictures to measure on."""

    tables: tuple[str, ...]  # names of defences


@dataclass(frozen=True, kw_only=True)
class Row:
    """What low precision does to pictures like these."""

    margin: float  # of logits: what they need, 1.5 times what their likeliest classes moved by
    n_pictures: int
    n_differ: int  # classes that low precision alone takes otherwise
    rough_s: float  # seconds of low precision for all pictures
    exact_s: float  # of float32


def load(cell: Cell, place: Place) -> tuple[Images, Screen]:
    """The images, and the network in both precisions."""
    images, network = load_block(replace(cell, precision=f"{SCREENED}0"), place)
    assert isinstance(network, Screen)
    return images, network


@torch.inference_mode()
def evaluate(cell: Cell, loaded: tuple[Images, Screen]) -> schema.Columns:
    """One row."""
    images, network = loaded
    pixels = codec.to_pixels(images.images)
    parts = [defence_by_name(name)(pixels) for name in cell.tables]
    rough, rough_s = _timed(network.rough, parts)
    exact, exact_s = _timed(network.exact, parts)
    return {
        "margin": [screen.margin(rough, exact)],
        "n_pictures": [len(rough)],
        "n_differ": [int((rough.argmax(1) != exact.argmax(1)).sum())],
        "rough_s": [rough_s],
        "exact_s": [exact_s],
    }


def _timed(network: Classifier, parts: list[Tensor]) -> tuple[Tensor, float]:
    """Logits of all pictures, and the seconds that they took after a first batch."""
    network(parts[0])
    start = time.perf_counter()
    logits = torch.cat([network(part) for part in parts]).cpu()
    return logits, time.perf_counter() - start


STUDY: Study[Cell, tuple[Images, Screen]] = Study(
    "screen_margin", 1, Cell, Row, load, evaluate, n_rows=lambda _: 1
)


class MissedError(Exception):
    """Audited pictures that float32 takes for another class: the margin is too narrow."""


def screened(lab: Lab, question: Question, answer: Callable[[Lab, Question], Answer]) -> Answer:
    """The answer in screened cells; in those of float32 where bfloat16 is not clearly faster.

    Where an audit finds a miss, all is asked again with twice the margin: every cell has pictures
    between the two.
    """
    if question.asked.precision != SCREENED:
        return answer(lab, question)
    margin = _margin(lab, question)
    while margin is not None:
        inputs = replace(question.inputs, precision=f"{SCREENED}{margin:g}")
        try:
            return answer(lab, replace(question, inputs=inputs))
        except MissedError as missed:
            margin = screen.rounded_up(2 * margin)
            say(f"warning: {missed}: the search is done again with a margin of {margin:g}")
            lab.swept.clear()
    return answer(lab, question)


def audited(rows: Rows) -> Rows:
    """The same rows. MissedError where one of them was missed."""
    if "decided" in rows and (n_missed := int((rows["decided"] == "missed").sum())):
        raise MissedError(f"{n_missed} audited pictures are of another class in fp32")
    return rows


def _margin(lab: Lab, question: Question) -> float | None:
    """The margin that the search's pictures need; None where bfloat16 is not clearly faster."""
    wanted = [next(iter(blocks([piece], _PICTURES))) for piece in question.of("search")]
    names = [table.name for row in question.tables() for table in row]
    spread = names[:: max(1, len(names) // _TABLES)][:_TABLES]
    cells = [Cell(**vars(question.cell(block, ["none", *spread]))) for block in wanted]
    rows = lab.sweep(STUDY, cells, "screen", label="margin", listed=False)
    share = rows["rough_s"].sum() / rows["exact_s"].sum()
    where = ", ".join(dict.fromkeys(rows["hardware"]))
    if share > FASTER:
        say(
            f"bf16 took {share:.2f} of fp32's time where it was measured ({where}): the search "
            "stays with fp32; another --store measures anew"
        )
        return None
    margin = screen.rounded_up(rows["margin"].max())
    say(
        f"bf16 took {share:.2f} of fp32's time ({where}); below a margin of {margin:g} fp32 decides"
    )
    return margin
