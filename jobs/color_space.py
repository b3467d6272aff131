"""RGB or YCbCr: in which colour space does one step for all coefficients defend better?

    python jobs/color_space.py --smoke                          # two small cells
    python jobs/color_space.py --data photos --eps-255 2        # 20 steps in three spaces
    python jobs/color_space.py --data photos --eps-255 2 --figure    # from stored rows

Figure 4 of the defensive-table paper: the same table for all channels in RGB, and in YCbCr (BT.601
full range) without and with chroma at half the resolution; FGSM at eps = 0.008, about 2/255. RGB is
the paper's codec; YCbCr is libjpeg's JPEG with that table. Gray images have one space.

Last answer, photos 32 px: at the same step RGB keeps more benign accuracy; at equal benign accuracy
the spaces defend alike (best below 1 point: 68.5, 68.5, 66.0 %).
"""

import argparse
import io
from dataclasses import asdict

import results
from core import attacks
from core.defences import SPACES
from core.errors import InputError
from results import defended as answers
from search import cli, defended, prepare
from search.engine.plan import Grid
from search.engine.study import Study
from search.engine.sweep import Engine
from search.inputs import loading

STUDY = Study("color_space", 2, defended.Cell, defended.Row, loading.load_block, defended.evaluate)
SMOKE = {
    "data": "photos", "steps": (30,), "benign": 60, "adversarial": 10, "epochs": 1,
}  # fmt: skip


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The study's own flags."""
    add, count = group.add_argument, cli.positive(int)
    add("--steps", type=cli.whole_numbers, default=tuple(range(5, 101, 5)), metavar="STEP",
        help="quantiser steps, such as 5-100/5")  # fmt: skip
    add("--benign", type=count, metavar="N", help="benign images; 1000 or all there are")
    add("--adversarial", type=count, default=200, metavar="N", help="adversarial examples")
    add("--block", type=count, default=250, metavar="N", help="images per cell")
    add("--max-decline", type=cli.positive(float), default=1.0, metavar="POINTS",
        help="a step is feasible when it costs less benign accuracy")  # fmt: skip
    add("--attack", choices=attacks.NAMES, default="fgsm", help="how examples are made")
    add("--eps-255", type=cli.at_least_zero, default=2.0, metavar="EPS",
        help="budget of the attack, L-infinity, in 1/255")  # fmt: skip


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Prepare, measure, and say the answer."""
    attack = attacks.Attack.with_defaults(options.attack, eps_255=options.eps_255)
    if cli.source_of(options).open().channels == 1:
        raise InputError(
            f"colour spaces need colour, and {options.data} is gray.\nHint: --data photos."
        )
    wanted = prepare.Wanted(
        benign=options.benign, adversarial=options.adversarial, report_benign=options.benign,
        report_adversarial=1,
    )  # fmt: skip
    prepared = prepare.prepare(
        engine, cli.source_of(options), wanted, attack, eight_bit=True, precision=options.precision
    )
    names: dict[tuple[str, int], str] = {
        (space, step): f"uniform{step}@{space}" for space in SPACES for step in options.steps
    }
    asked = list(
        defended.cells(
            prepared, attack, ["none", *names.values()], split="search", block=options.block
        )
    )
    inputs = prepared.inputs
    words = [inputs.data, str(inputs.side), inputs.model, attack.name, f"eps{attack.eps_255:g}"]
    sweep = prepare.sweep_name(words, [asdict(cell) for cell in asked])
    outcome = engine.sweep(
        STUDY, Grid(STUDY.cell_id, asked), sweep, label="color spaces", state=cli.state_of(options)
    )
    if outcome.failed:
        return cli.failed(outcome)
    lines = answers.accuracies(results.load(STUDY.name, sweep=sweep, store=engine.store.root))
    title = (
        f"{inputs.data} {inputs.side} px, {inputs.model}, {attack.name} eps {attack.eps_255:g}/255"
    )
    text = f"{title}\n{answers.space_text(lines, names, options.max_decline)}\n"
    print(text, end="")
    picture = io.BytesIO()
    answers.space_curves(lines, names, title=title, path=picture)
    cli.print_written(results.publish_files(
        engine.store, STUDY.name, sweep, text=text, frames={"curves": lines},
        figure=("color_space.png", picture.getvalue()),
    ))  # fmt: skip
    return 0


JOB = cli.Job(name="color_space", question=__doc__ or "", add_flags=add_flags, run=run, smoke=SMOKE)

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
