"""Before a search: check the machines, submit to a cluster, and take weights from elsewhere.

python -m search doctor                                     # this machine and its cluster, if any
python -m search doctor --cluster cluster.yaml              # a cluster file, before `ray up`
python -m search submit cluster.yaml jobs/qtable_search.py -- --eps-255 8
python -m search weights convert model.pth model.safetensors   # what torch.save wrote
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from core.known import DATA
from results.shown import show
from results.where import default_store
from search.command_line import Parser, gpu_share, words
from search.flags import paths_of
from search.job import EXIT_FAILED_CELLS, EXIT_INPUT, in_words, keep_secret
from search.later import later
from search.progress import say

with later():
    from core.models import convert
    from search.cluster.doctor import Questions, findings
    from search.cluster.file import check_files
    from search.cluster.submit import submit


def command_line() -> argparse.ArgumentParser:
    """What can be asked."""
    look = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="python -m search", description=__doc__, formatter_class=look, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _doctor_flags(commands.add_parser("doctor", help="what is wrong here, and what to do"))
    send = commands.add_parser("submit", help="`ray submit` whose arguments arrive as typed")
    send.add_argument("--tmux", action="store_true", help="goes on when this machine is closed")
    send.add_argument("cluster", metavar="CLUSTER.YAML")
    send.add_argument("script", metavar="SCRIPT")
    send.add_argument("arguments", nargs="*", metavar="-- ARGUMENT", help="of the job, after --")
    weights = commands.add_parser("weights", help="weights that were saved elsewhere")
    turn = weights.add_subparsers(metavar="convert", required=True).add_parser(
        "convert", help="numbers of a .pth or .pt file, as safetensors; nothing in it is run"
    )
    turn.add_argument("source", metavar="FILE")
    turn.add_argument("target", metavar="OUT.safetensors")
    turn.add_argument("--prefix", default="", metavar="NAME", help="of one of several networks")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 all is well, 1 something is wrong, 2 unusable input."""
    try:
        keep_secret(sys.argv[1:] if argv is None else argv)
        options = command_line().parse_args(argv)
        if options.command == "weights":
            return _convert(options.source, options.target, options.prefix)
        if options.command == "submit":
            return submit(options.cluster, options.script, options.arguments, tmux=options.tmux)
        if options.cluster:
            return check_files(options.cluster)
        store = default_store() if options.store is None else options.store
        paths = paths_of(options.data, options.model, options.data_root)
        return _doctor(Questions(store, options.data, options.data_root, paths, options.gpus))
    except (ValueError, OSError) as error:
        if (text := in_words(error)) is None:
            raise
        say(f"error: {text}")
        return EXIT_INPUT


def _doctor_flags(parser: argparse.ArgumentParser) -> None:
    add = partial(parser.add_argument, type=words)
    add("--store", metavar="URI", help="[QSWEEP_STORE, else results/out]")
    add("--data", default="digits", metavar="NAME", help=f"data set: {', '.join(DATA)}")
    add("--data-root", metavar="DIR", help="where mnist and cifar lie")
    add("--model", default="small_resnet", metavar="NAME", help="checkpoint:PATH is looked for")
    add("--gpus", type=gpu_share, metavar="N", help="GPUs per task that you mean to ask for")
    add("--cluster", nargs="+", metavar="FILE", help="check cluster files instead, nothing else")


def _convert(source: str, target: str, prefix: str) -> int:
    done = convert(source, target, prefix=prefix)
    print(f"{target}: {done.n_tensors} tensors{f' of {done.place}' if done.place else ''}")
    if done.left_out:
        print(f"left out: {', '.join(done.left_out)[:300]}")
    if done.n_rounded:
        print(f"{done.n_rounded} of them were float64 and are rounded to float32")
    print(f"--model checkpoint:{target} --architecture {done.architecture or 'NAME'} opens it")
    return 0


def _doctor(asked: Questions) -> int:
    n_wrong = 0
    for finding in findings(asked):
        show(finding.text())
        n_wrong += bool(finding.wrong)
    show(f"{n_wrong} findings to mend" if n_wrong else "all is well")
    return EXIT_FAILED_CELLS if n_wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
