"""A screened search: low precision where it is sure, float32 where it is not, and an audit.

Which precision is cheapest here, with what float32 must decide after it, is measured on pictures
of the search, and so is the margin below which float32 decides. Cells name both, so a wider
margin makes other cells.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from core import codec
from core.codec import scoring, screen
from core.codec.screen import Classifier
from core.defences import defence_by_name
from core.models import lower
from results import Answer, Rows, schema
from search.engine.study import Place, Study
from search.inputs.loading import (
    SCREENED,
    BlockCell,
    Images,
    classifier_of,
    images_of,
    screened_by,
    screening_of,
)
from search.inputs.pictures import blocks
from search.lab import Lab
from search.progress import say
from search.tables.plan import Question

FASTER = 0.8  # of float32's seconds; above it nothing is screened
_PICTURES = 64  # of a table, of benign images and of attacked ones
_TABLES = 5  # spread over the search's, and no table


@dataclass(frozen=True, kw_only=True)
class Cell(BlockCell):
    """Pictures to measure on."""

    tables: tuple[str, ...]  # names of defences


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one low precision does to pictures like these."""

    kind: str  # one of `core.models.lower.KINDS`
    margin: float  # of logits: what they need, 1.5 times what their likeliest classes moved by
    n_pictures: int
    n_differ: int  # classes that low precision alone takes otherwise
    n_narrow: int  # pictures that float32 would decide
    rough_s: float  # seconds of low precision for these pictures
    exact_s: float  # of float32


Networks = Mapping[str, Classifier]  # float32's under "fp32", the others under their kinds


def load(cell: Cell, place: Place) -> tuple[Images, Networks]:
    """The images, and the network in float32 and in all that may be faster."""
    images = images_of(place.bank, cell.piece).part(cell.first, cell.count, place.device)
    made = partial(classifier_of, place.bank, cell.weights, place.device)
    return images, {kind: made(kind) for kind in ("fp32", *lower.candidates(place.device))}


@torch.inference_mode()
def evaluate(cell: Cell, loaded: tuple[Images, Networks]) -> schema.Columns:
    """One row for each low precision."""
    images, networks = loaded
    pixels = codec.to_pixels(images.images)
    pictures = torch.cat([defence_by_name(name)(pixels) for name in cell.tables])
    parts = list(torch.split(pictures, scoring.batch_size_of(images.images)))
    exact, exact_s = _timed(networks["fp32"], parts)
    rows = [
        _row(kind, network, parts, exact, exact_s)
        for kind, network in networks.items()
        if kind != "fp32"
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _row(
    kind: str, network: Classifier, parts: list[Tensor], exact: Tensor, exact_s: list[float]
) -> dict[str, object]:
    """What a low precision does; to the first pictures alone where it is hopeless on them."""
    rough, rough_s = _timed(network, parts[:1])
    if rough_s[0] <= 2 * exact_s[0]:
        rough, rough_s = _timed(network, parts)
    exact = exact[: len(rough)]
    margin = screen.margin(rough, exact)
    return {
        "kind": kind,
        "margin": margin if math.isfinite(margin) else math.inf,
        "n_pictures": len(rough),
        "n_differ": int((rough.argmax(1) != exact.argmax(1)).sum()),
        "n_narrow": screen.n_narrow(rough, margin),
        "rough_s": sum(rough_s),
        "exact_s": sum(exact_s[: len(rough_s)]),
    }


def _timed(network: Classifier, parts: list[Tensor]) -> tuple[Tensor, list[float]]:
    """Logits of all pictures, and the seconds of each part, one of each size before them."""
    for part in {len(part): part for part in parts}.values():
        network(part).cpu()  # kernels are loaded and chosen
    logits, walls = [], []
    for part in parts:
        start = time.perf_counter()
        logits.append(network(part).cpu())  # which waits for a GPU
        walls.append(time.perf_counter() - start)
    return torch.cat(logits), walls


STUDY: Study[Cell, tuple[Images, Networks]] = Study(
    "screen_cost", 1, Cell, Row, load, evaluate, n_rows=lambda _: None
)


class MissedError(Exception):
    """Audited pictures that float32 takes for another class: the margin is too narrow."""


def screened(lab: Lab, question: Question, answer: Callable[[Lab, Question], Answer]) -> Answer:
    """The answer in screened cells; in those of float32 where nothing is clearly faster.

    Where an audit finds a miss, all is asked again with twice the margin: every cell has pictures
    between the two.
    """
    if question.asked.precision != SCREENED:
        return answer(lab, question)
    precision = cheapest(lab, question)
    while screening := screening_of(precision):
        inputs = replace(question.inputs, precision=precision)
        try:
            return answer(lab, replace(question, inputs=inputs))
        except MissedError as missed:
            kind, margin = screening
            precision = screened_by(kind, screen.rounded_up(2 * margin))
            say(f"warning: {missed}: the search is done again as {precision}")
            lab.swept.clear()
    return answer(lab, question)


def audited(rows: Rows) -> Rows:
    """The same rows. MissedError where one of them was missed."""
    if "decided" in rows and (n_missed := int((rows["decided"] == "missed").sum())):
        raise MissedError(f"{n_missed} audited pictures are of another class in fp32")
    return rows


def cheapest(lab: Lab, question: Question) -> str:
    """The precision of the search's cells, "fp32" where nothing is clearly faster."""
    wanted = [next(iter(blocks([piece], _PICTURES))) for piece in question.of("search")]
    names = [table.name for row in question.tables() for table in row]
    spread = names[:: max(1, len(names) // _TABLES)][:_TABLES]
    cells = [Cell(**vars(question.cell(block, ["none", *spread]))) for block in wanted]
    rows = lab.sweep(STUDY, cells, "screen", label="margin", listed=False)
    where = ", ".join(dict.fromkeys(rows["hardware"]))
    by_kind = {str(kind): of for kind, of in rows.groupby("kind", sort=False, observed=True)}
    costs = {kind: _cost(of) for kind, of in by_kind.items()}
    kind = min(costs, key=costs.__getitem__)
    if costs[kind] > FASTER:
        say(
            f"{kind}, with what fp32 must decide after it, would take {costs[kind]:.2f} of fp32's "
            f"time ({where}): the search stays with fp32; another --store measures anew"
        )
        return "fp32"
    margin = screen.rounded_up(by_kind[kind]["margin"].max())
    say(
        f"{kind}, with what fp32 must decide after it, should take {costs[kind]:.2f} of fp32's "
        f"time ({where}); below a margin of {margin:g} fp32 decides"
    )
    return screened_by(kind, margin)


def _cost(rows: Rows) -> float:
    """Share of float32's seconds: the low precision's, confirmations and the audit."""
    if not rows["margin"].map(math.isfinite).all():
        return math.inf
    narrow = rows["n_narrow"].sum() / rows["n_pictures"].sum()
    return float(rows["rough_s"].sum() / rows["exact_s"].sum() + narrow + screen.AUDITED)
