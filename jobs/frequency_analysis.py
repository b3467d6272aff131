"""Which frequencies carry the image, and which the distortion?

    python jobs/frequency_analysis.py --smoke                   # two small cells
    python jobs/frequency_analysis.py --data photos --eps-255 2    # six channels of photographs
    python jobs/frequency_analysis.py --data photos --eps-255 2 --figure    # from stored rows

Figures 2 and 3 of the defensive-table paper: the standard deviation of each of the 64 block-DCT
coefficients over benign images (delta_b) and over x_adv - x (delta_a), in R, G, B, Y, Cb, Cr. The
paper cuts its bands along diagonals u + v; here the measured ratio is compared with that order.
"""

import argparse
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

import results
from core import attacks, frequency, qtable
from results import frequency as answers
from results import schema
from search import cli, prepare, stages
from search.bank import Bank
from search.plan import Grid
from search.study import Place, Study
from search.sweep import Engine
from search.table_search import blocks

PATTERNS = (2, 3, 4, 6, 8)


@dataclass(frozen=True, kw_only=True)
class Cell(stages.Inputs):
    """A block of attacked images, and the same images before."""

    weights: str  # the attacked classifier's piece in the bank
    attack: str
    eps_255: float
    split: str  # "search" or "report"
    before: str  # pieces in the bank
    attacked: str
    first: int  # position in the attacked piece
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """Sums over blocks of one coefficient in one channel, in levels."""

    channel: str
    u: int
    v: int
    n_blocks: int
    benign: float
    benign_squares: float
    distortion: float
    distortion_squares: float


def load(cell: Cell, bank: Bank, place: Place) -> tuple[Tensor, Tensor]:
    """Attacked images and the same before, on the device."""
    attacked = stages.images_of(bank, cell.attacked).part(cell.first, cell.count, place.device)
    benign = stages.images_of(bank, cell.before)
    order = benign.ids.argsort()
    rows = order[torch.searchsorted(benign.ids[order], attacked.ids)]
    return attacked.images, benign.images[rows].to(place.device)


def evaluate(_: Cell, inputs: tuple[Tensor, Tensor]) -> schema.Columns:
    """Moments of both, one row per channel and coefficient."""
    attacked, images = inputs
    benign, distortion = frequency.of_images(images), frequency.of_distortion(attacked, images)
    channels = frequency.CHANNELS if len(benign.total) > 1 else ("Y",)
    n_rows = 64 * len(channels)
    return {
        "channel": [channel for channel in channels for _ in range(64)],
        "u": [u for u in range(8) for _ in range(8)] * len(channels),
        "v": list(range(8)) * 8 * len(channels),
        "n_blocks": [benign.n_blocks] * n_rows,
        "benign": benign.total.flatten().cpu().numpy(),
        "benign_squares": benign.total_squares.flatten().cpu().numpy(),
        "distortion": distortion.total.flatten().cpu().numpy(),
        "distortion_squares": distortion.total_squares.flatten().cpu().numpy(),
    }


STUDY = Study("frequency_analysis", 1, Cell, Row, load, evaluate)
SMOKE = {"benign": 60, "attacked": 20, "epochs": 2}


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The study's own flags."""
    add, count = group.add_argument, cli.positive(int)
    add("--benign", type=count, metavar="N", help="images a split to choose from; 1000 or all")
    add("--attacked", type=count, default=500, metavar="N", help="images attacked, of each split")
    add("--block", type=count, default=250, metavar="N", help="images per cell")
    add("--attack", choices=attacks.NAMES, default="fgsm", help="how examples are made")
    add("--eps-255", type=cli.at_least_zero, default=2.0, metavar="EPS",
        help="budget of the attack, L-infinity, in 1/255")  # fmt: skip


def cells(prepared: prepare.Prepared, attack: attacks.Attack, block: int) -> Iterator[Cell]:
    """Blocks of attacked images, each with the piece that holds the same images before."""
    benign = [piece for piece in prepared.pieces if piece.subject == "benign"]
    attacked = [piece for piece in prepared.pieces if piece.subject == "adversarial"]
    for each in blocks(attacked, block):
        piece = each.piece
        before = next(
            b for b in benign if b.split == piece.split and set(piece.images) <= set(b.images)
        )
        yield Cell(
            **asdict(prepared.inputs), weights=prepared.weights, attack=attack.name,
            eps_255=attack.eps_255, split=piece.split, before=before.name, attacked=piece.name,
            first=each.first, count=each.count,
        )  # fmt: skip


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Prepare, measure, and say the answer."""
    attack = attacks.Attack.with_defaults(options.attack, eps_255=options.eps_255)
    wanted = prepare.Wanted(
        benign=options.benign, adversarial=options.attacked, report_benign=options.benign,
        report_adversarial=options.attacked,
    )  # fmt: skip
    prepared = prepare.prepare(
        engine, cli.source_of(options), wanted, attack, eight_bit=True, precision=options.precision
    )
    inputs, asked = prepared.inputs, list(cells(prepared, attack, options.block))
    words = [inputs.data, str(inputs.side), inputs.model, attack.name, f"eps{attack.eps_255:g}"]
    sweep = prepare.sweep_name(words, [asdict(cell) for cell in asked])
    outcome = engine.sweep(
        STUDY, Grid(STUDY.cell_id, asked), sweep, label="frequencies", state=cli.state_of(options)
    )
    if outcome.failed:
        return cli.failed(outcome)
    lines = answers.deviations(results.load(STUDY.name, sweep=sweep, store=engine.store.root))
    title = (
        f"{inputs.data} {inputs.side} px, {inputs.model}, {attack.name} eps {attack.eps_255:g}/255"
    )
    text = (
        f"{title}\n{answers.answer_text(lines)}\n{bands(answers.ratio_map(lines, 'search', 'Y'))}\n"
    )
    print(text, end="")
    picture = io.BytesIO()
    answers.spectra(lines, title=title, path=picture)
    for what, where in results.publish_files(
        engine.store, STUDY.name, sweep, text=text, frames={"deviations": lines},
        figure=("spectra.png", picture.getvalue()),
    ):  # fmt: skip
        print(f"{what:>9}  {where}")
    return 0


def bands(ratio: answers.Map) -> str:
    """The band of smallest ratio in Y beside the paper's diagonals, and its name as a table."""
    measured, order = torch.tensor(ratio).nan_to_num(torch.inf), frequency.diagonals()
    out = ["OF band by measured ratio in Y, and what of it lies in the first k diagonals"]
    for k in PATTERNS:
        size = k * (k + 1) // 2
        mask = frequency.smallest(measured, size)
        table = qtable.Banded.of(mask, qs_of=16, qs_af=50)
        out.append(f"  k {k}: {int((mask & (order < k)).sum()):2d} of {size:2d}  {table.name}")
    return "\n".join(out)


JOB = cli.Job(
    name="frequency_analysis", question=__doc__ or "", add_flags=add_flags, run=run, smoke=SMOKE
)

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
