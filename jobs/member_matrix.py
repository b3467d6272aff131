"""How does each network of the noise-trained chain fare on images of every quality?

    python jobs/member_matrix.py --smoke       # short training, few images
    python jobs/member_matrix.py               # bundled digits, I-FGSM eps 2/255
    python jobs/member_matrix.py --figure      # answer and draw from stored rows

Figure 6 of the defensive-table paper: M, M90 .. M30 on images at eight qualities, benign and
under I-FGSM with eps = 0.008 on M (gray box).

Last answer, digits at 8/255 and photos at 2/255: the quality of the images decides, hardly the
member.
"""

import argparse
from dataclasses import asdict

import results
from core.attacks import Attack
from results import member_figures, members
from search import chain, chain_cli, cli
from search.engine.sweep import Engine


def add_flags(group: argparse._ArgumentGroup) -> None:
    """The job's own flags."""
    group.add_argument("--sigma-255", type=cli.at_least_zero, default=8.0, metavar="LEVEL",
        help="standard deviation of the noise in training, in 1/255")  # fmt: skip
    chain_cli.add_chain_flags(group)
    chain_cli.add_image_flags(group)


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Train the chain, try every member at every quality, and say the answer."""
    found = chain_cli.prepared(
        engine, options, Attack.with_defaults(options.attack, eps_255=options.eps_255)
    )
    cells = chain_cli.cells(options, found, [options.sigma_255])
    sweep = chain_cli.sweep_of(["matrix"], found, [asdict(cell) for cell in cells])
    (trained,) = chain.make_chains(engine, cli.source_of(options), cells)
    pairs = chain_cli.crossed(trained)
    known = [
        {"member": name, "quality": quality, "weights": pair.weights, "table": pair.table}
        for name, quality, pair in pairs
    ]
    seen, state = [pair for *_, pair in pairs], cli.state_of(options)
    chain.make_outputs(engine, found.inputs, seen, found.pieces, sweep, state=state)
    rows = results.load(chain.OUTPUTS.name, sweep=sweep, store=engine.store.root)
    lines = members.accuracies(members.named(rows, known), ["member", "quality"])
    title = chain_cli.title(options, found)
    text = members.matrix_text(lines)
    print(text)
    picture = member_figures.png(member_figures.matrix_figure(lines, title=title))
    cli.print_written(results.publish_files(
        engine.store, chain.OUTPUTS.name, sweep, text=f"{title}\n{text}\n",
        frames={"matrix": lines}, figure=("matrix.png", picture),
    ))  # fmt: skip
    return 0


JOB = cli.Job(
    name="member_matrix", question=__doc__ or "", add_flags=add_flags, run=run,
    smoke=chain_cli.SMOKE,
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
