"""What does noise-training on compressed images give the networks M90 .. M30, over M?

    python jobs/train_chain.py --smoke                     # one member epoch each, on this machine
    python jobs/train_chain.py --sigma-255 0,4,8,16        # four chains on bundled digits
    python jobs/train_chain.py --sigma-255 0,4,8,16 --figure    # answer and draw from stored rows

Section 3.4 of the defensive-table paper: seven networks, each fine-tuned from its predecessor on
images as they are and on noisy images at its own quality. Every member is then tried on held-out
images at its own quality, benign and attacked (gray box: the attack knows M alone).

Last answer, I-FGSM 2/255: digits show nothing; on photos accuracy under attack rises as quality
falls (44.5 % for M, 56.5 % for M30), at a benign price, whatever the noise.
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
    group.add_argument("--sigma-255", type=cli.levels, default=(4.0, 8.0, 16.0), metavar="LEVELS",
        help="standard deviations of the noise, in 1/255, such as 0,4,8")  # fmt: skip
    chain_cli.add_chain_flags(group)
    chain_cli.add_image_flags(group)


def run(engine: Engine, options: argparse.Namespace) -> int:
    """Train, try, and say the answer."""
    found = chain_cli.prepared(
        engine, options, Attack.with_defaults(options.attack, eps_255=options.eps_255)
    )
    cells = chain_cli.cells(options, found, options.sigma_255)
    sweep = chain_cli.sweep_of(["chain"], found, [asdict(cell) for cell in cells])
    chains = chain.make_chains(engine, cli.source_of(options), cells)
    known = [
        {"sigma_255": cell.sigma_255, "member": m.name, "weights": m.weights, "table": m.table}
        for cell, trained in zip(cells, chains, strict=True)
        for m in trained
    ]
    everyone = [member for trained in chains for member in trained]
    state = cli.state_of(options)
    chain.make_outputs(engine, found.inputs, everyone, found.pieces, sweep, state=state)
    rows = results.load(chain.OUTPUTS.name, sweep=sweep, store=engine.store.root)
    lines = members.accuracies(members.named(rows, known), ["sigma_255", "member"])
    title = chain_cli.title(options, found)
    text = members.chain_text(lines)
    print(text)
    picture = member_figures.png(member_figures.chain_figure(lines, title=title))
    cli.print_written(results.publish_files(
        engine.store, chain.OUTPUTS.name, sweep, text=f"{title}\n{text}\n",
        frames={"members": lines}, figure=("chain.png", picture),
    ))  # fmt: skip
    return 0


JOB = cli.Job(
    name="train_chain", question=__doc__ or "", add_flags=add_flags, run=run,
    smoke=chain_cli.SMOKE | {"sigma_255": (8.0,)},
)  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(cli.main(JOB))
