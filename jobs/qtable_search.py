"""Which quantization table washes adversarial perturbations out, and leaves benign images alone?

    python jobs/qtable_search.py --smoke                 # two small cells on this machine
    python jobs/qtable_search.py --eps-255 8             # the whole search on bundled digits
    python jobs/qtable_search.py --eps-255 8 --bands measured    # beyond the paper
    python jobs/qtable_search.py --eps-255 8 --figure    # answer and draw from stored rows

Algorithm 1 of the defensive-table paper: every partition pattern k and step QS_AF is scored on
benign and adversarial images; the winner has the largest Def among the tables whose Acc_dec stays
below one point. The winner is then reported on images that the search has not seen. With
`--bands measured` the finely quantised coefficients are not the first k diagonals but as many of
the smallest measured ratio delta_a / delta_b.

Last answer, digits, FGSM 8/255: k 3, QS_AF 116 (held out: 84.0 to 95.0 %, no benign loss). Photos
32 px, FGSM 2/255: k 10, QS_AF 56, tied with 156 others (46.5 to 52.0 %, benign -0.5 points).
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

import results
from core import attacks
from core.codec import frequency, qtable, scoring
from core.errors import InputError
from results import schema
from search import cli, prepare
from search.engine.plan import Grid, Plan
from search.engine.study import Study, say
from search.engine.sweep import Engine
from search.inputs import loading
from search.measures import frequencies
from search.tables.best_first import BLOCKS_PER_SUBJECT, BestFirst
from search.tables.tally import Block, Tally, blocks, digest, grid, measured_bands, measured_grid

BASELINES = ("none", "ijg75", "uniform16")
PATTERNS_PER_CELL = 5  # neighbours give many identical pictures, which one cell classifies once


@dataclass(frozen=True, kw_only=True)
class Cell(loading.BlockCell):
    """A block of images under some tables."""

    tables: tuple[str, ...]  # names, as core.codec.qtable.by_name reads them


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image under one table."""

    image: int  # id within the split
    label: int
    undefended: int  # class predicted without a codec
    table: str
    pattern: int | None  # k, or that of as many coefficients; none for tables not searched
    qs_of: int | None
    qs_af: int | None
    predicted: int


def evaluate(cell: Cell, inputs: tuple[loading.Images, torch.nn.Module]) -> schema.Columns:
    """Predict every image under every table; one row each, tables fastest."""
    images, network = inputs
    scores = scoring.predict(network, images.images, [qtable.by_name(t) for t in cell.tables])
    ours = [qtable.parse_two_step(name) for name in cell.tables]
    n_images, n_tables = scores.predicted.shape
    return {
        "image": images.ids.repeat_interleave(n_tables).numpy(),
        "label": images.labels.repeat_interleave(n_tables).numpy(),
        "undefended": images.undefended.repeat_interleave(n_tables).numpy(),
        "table": schema.tiled(cell.tables, n_images),
        "pattern": schema.tiled([table and table.pattern for table in ours], n_images),
        "qs_of": schema.tiled([table and table.qs_of for table in ours], n_images),
        "qs_af": schema.tiled([table and table.qs_af for table in ours], n_images),
        "predicted": scores.predicted.flatten().numpy(),
    }


SEARCH = Study("qtable_search", 2, Cell, Row, loading.load_block, evaluate, digest)
REPORT = Study("qtable_report", 2, Cell, Row, loading.load_block, evaluate, digest)


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The search's own flags."""
    add, count = group.add_argument, cli.positive(int)
    add("--patterns", type=cli.whole_numbers, default=tuple(range(1, 15)), metavar="K",
        help="partition patterns k, such as 1-14 or 1,3,5")  # fmt: skip
    add("--qs-af", type=cli.whole_numbers, default=tuple(range(1, 122, 5)), metavar="STEP",
        help="steps of the adversary-favoured band, such as 1-121/5")  # fmt: skip
    add("--qs-of", type=count, default=16, metavar="STEP",
        help="step of the original-favoured band: 16 x eps x 255 at eps = 0.004")  # fmt: skip
    add("--bands", choices=("diagonal", "measured"), default="diagonal",
        help="what pattern k keeps: the first k diagonals, or as many coefficients of smallest "
        "delta_a / delta_b, measured in Y on the images of the search")  # fmt: skip
    add("--max-decline", type=cli.positive(float), default=1.0, metavar="POINTS",
        help="a table is feasible when Acc_dec is below this")  # fmt: skip
    add("--strategy", choices=("exhaustive", "best-first"), default="exhaustive",
        help="the whole surface, or the same winner, proved, for less work")  # fmt: skip
    add("--benign", type=count, metavar="N", help="benign images; 1000 or all there are")
    add("--adversarial", type=count, default=200, metavar="N", help="adversarial examples")
    add("--report-benign", type=count, metavar="N", help="held-out images; 1000 or all")
    add("--report-adversarial", type=count, default=200, metavar="N", help="held-out examples")
    add("--block", type=count, default=50, metavar="N", help="images per cell")
    add("--attack", default="fgsm", metavar="NAME[:KEY=VALUE,...]",
        help=f"how examples are made: {', '.join(attacks.NAMES)}; settings as in cw:confidence=5 "
        "or fgsm:target=least-likely")  # fmt: skip
    add("--eps-255", type=cli.at_least_zero, metavar="EPS",
        help="budget of the attack in 1/255, of a pixel or, where the attack is L2, of an image; "
        "2 where it is L-infinity")  # fmt: skip
    add("--step-255", type=cli.at_least_zero, metavar="STEP", help="of fgsm's kin, in 1/255")
    add("--attack-steps", type=count, metavar="N", help="of all attacks but fgsm")
    add("--restarts", type=count, metavar="N", help="of pgd")
    add("--float", action="store_true", help="keep adversarial examples unrounded")


SMOKE = {
    "patterns": (3,), "qs_af": (51, 121), "benign": 50, "adversarial": 20, "report_benign": 50,
    "report_adversarial": 20, "epochs": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is searched: flags, what they stand on, and the cells that follow."""

    options: argparse.Namespace
    attack: attacks.Attack
    prepared: prepare.Prepared
    ratio: frequency.Map | None = None  # measured delta_a / delta_b; none: bands are diagonals

    def tables(self) -> Sequence[Sequence[qtable.TwoStep]]:
        """The searched tables, by pattern."""
        asked = self.options.patterns, self.options.qs_af, self.options.qs_of
        return grid(*asked) if self.ratio is None else measured_grid(self.ratio, *asked)

    @property
    def bands(self) -> results.MeasuredBands | None:
        """What is to be said of measured bands."""
        return None if self.ratio is None else measured_bands(self.ratio, self.options.patterns)

    def cell(self, block: Block, tables: Sequence[str]) -> Cell:
        """The cell that scores a block of images under some tables."""
        return Cell(
            **asdict(self.prepared.inputs), weights=self.prepared.weights,
            attack=self.attack.name, eps_255=self.attack.eps_255, split=block.piece.split,
            subject=block.piece.subject, piece=block.piece.name, first=block.first,
            count=block.count, tables=tuple(tables),
        )  # fmt: skip

    def pieces(self, split: str) -> list[prepare.Piece]:
        """The images of a split, adversarial first."""
        return [piece for piece in self.prepared.pieces if piece.split == split]

    def plan(self) -> tuple[Plan, Tally]:
        """How the search goes through its tables."""
        rows = self.tables()
        pieces = self.pieces("search")
        n_images = {p.subject: 0 for p in pieces}
        for piece in pieces:
            n_images[piece.subject] += len(piece.images)
        tally = Tally(
            [table for row in rows for table in row], n_images["benign"],
            n_images["adversarial"], self.options.max_decline,
        )  # fmt: skip
        if self.options.strategy == "best-first":
            plan = BestFirst(
                tally, pieces, self.cell, SEARCH.cell_id, largest_block=self.options.block
            )
            return plan, tally
        together = (
            [table.name for row in rows[i : i + PATTERNS_PER_CELL] for table in row]
            for i in range(0, len(rows), PATTERNS_PER_CELL)
        )
        cells = (
            self.cell(block, names)
            for names in together
            for block in blocks(pieces, self.options.block)
        )
        return Grid(SEARCH.cell_id, cells, watch=tally.add, best=tally.best), tally

    @property
    def sweep(self) -> str:
        """The search's name in the store: one question, one sweep."""
        inputs, options = self.prepared.inputs, self.options
        best_first = options.strategy == "best-first"
        words = [
            inputs.data, str(inputs.side), *["measured"] * (self.ratio is not None),
            inputs.model, self.attack.name,
            f"eps{self.attack.eps_255:g}", *["best-first"] * best_first,
        ]  # fmt: skip
        asked = [
            asdict(inputs), self.prepared.weights, asdict(self.attack), options.patterns,
            options.qs_af, options.qs_of, options.strategy, options.block,
            BLOCKS_PER_SUBJECT if best_first else PATTERNS_PER_CELL,
            [piece.name for piece in self.prepared.pieces],
        ]  # fmt: skip
        if best_first:  # which cells it asks depends on the limit
            asked.append(options.max_decline)
        if self.ratio is not None:
            asked.append([row[0].name for row in self.tables()])
        return prepare.sweep_name(words, asked)


def ask(engine: Engine, options: argparse.Namespace) -> Question:
    """Prepare what the flags ask for: classifier, benign images, adversarial examples."""
    attack = attacks.Attack.with_defaults(
        options.attack, eps_255=options.eps_255, step_255=options.step_255,
        n_steps=options.attack_steps, n_restarts=options.restarts,
    )  # fmt: skip
    grid(options.patterns, options.qs_af, options.qs_of)  # bad tables before long work
    if not options.float and attack.norm is attacks.LINF and attack.eps_255 % 1:
        if attack.eps_255 < 1:
            raise InputError(
                f"examples rounded to 8 bits need a budget of at least 1/255, got "
                f"{attack.eps_255:g}.\nHint: --float keeps them unrounded."
            )
        say(f"note: rounded to 8 bits, a budget of {attack.eps_255:g} uses {int(attack.eps_255)}")
    prepared = prepare.prepare(
        engine, cli.source_of(options),
        prepare.Wanted(
            benign=options.benign, adversarial=options.adversarial,
            report_benign=options.report_benign, report_adversarial=options.report_adversarial,
        ),
        attack, eight_bit=not options.float, precision=options.precision,
    )  # fmt: skip
    ratio = None
    if options.bands == "measured":
        measured = frequencies.cells(prepared, attack, options.block, splits=("search",))
        ratio = frequencies.luma_ratio(frequencies.measure(engine, measured))
    return Question(options, attack, prepared, ratio)


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Prepare, search, report, and say the answer."""
    question = ask(engine, options)
    plan, tally = question.plan()
    outcome = engine.sweep(
        SEARCH, plan, question.sweep, label="table search", state=cli.state_of(options)
    )
    if outcome.failed:
        return cli.failed(outcome)
    winner = tally.leader()
    if winner is not None:
        names = [*BASELINES, winner.name]
        cells = [question.cell(b, names) for b in blocks(question.pieces("report"), options.block)]
        outcome = engine.sweep(
            REPORT, Grid(REPORT.cell_id, cells), question.sweep, label="held-out report",
            state=cli.state_of(options),
        )  # fmt: skip
        if outcome.failed:
            return cli.failed(outcome)
    return answer(engine, question, winner)


def answer(engine: Engine, question: Question, winner: qtable.TwoStep | None) -> int:
    """Print and write what the stored rows say."""
    store, options = engine.store, question.options
    rows = results.once(results.load(SEARCH.name, sweep=question.sweep, store=store.root))
    report = None
    if winner is not None:
        report = results.load(REPORT.name, sweep=question.sweep, store=store.root)
        report = results.once(report[report["table"].isin([*BASELINES, winner.name])])
    inputs = question.prepared.inputs
    title = (
        f"{inputs.data} {inputs.side} px, {inputs.model}, {question.attack.name} "
        f"{question.attack.budget}{', bands as measured' if question.bands else ''}"
    )
    export = ""
    if winner is not None:
        export = qtable.to_text(winner.table(), comment=f"{winner.name}, found by {question.sweep}")
    answered = results.answer(
        rows, report, title=title, max_decline_points=options.max_decline,
        partial=options.strategy == "best-first", bands=question.bands,
    )  # fmt: skip
    print(answered.text)
    cli.print_written(results.publish(store, SEARCH.name, question.sweep, answered, export))
    return 0


JOB = cli.Job(
    name="qtable_search", question=__doc__ or "", add_flags=add_flags, run=run, smoke=SMOKE
)

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
