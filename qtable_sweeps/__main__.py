"""Every study and tool, from any folder.

qtable-sweeps search --eps-255 8        # qtable_search, the table search
qtable-sweeps tune --trials 12          # ensemble_tune, the tuning of ensembles
qtable-sweeps STUDY --help              # any other: threat_table, ablation, ...
qtable-sweeps results show SWEEP        # what a store holds
qtable-sweeps doctor                    # this machine and its cluster
qtable-sweeps submit CLUSTER.YAML ...   # to a cluster of `ray up`
qtable-sweeps weights convert ...       # what torch.save wrote
"""

import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from pkgutil import iter_modules

import jobs
from qtable_sweeps import extra

_SHORT = {"search": "qtable_search", "tune": "ensemble_tune"}
_TOOLS = ("doctor", "submit", "weights")


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the words after the first to the study or tool that it names; its exit code.

    2 where the first names none, or the packages of studies are not installed.
    """
    try:
        return _main(argv)
    except ModuleNotFoundError as error:
        if (said := extra(error)) is error:
            raise
        print(f"error: {said}", file=sys.stderr)
        return 2


def _main(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    command, *rest = words or ["--help"]
    studies = [found.name for found in iter_modules(jobs.__path__)]
    if command == "--version":
        print(f"qtable-sweeps {metadata.version('qtable-sweeps')}")
    elif command in ("-h", "--help"):
        print(f"{(__doc__ or '').rstrip()}\n\nstudies: {', '.join(studies)}")
    elif (study := _SHORT.get(command, command)) in studies:
        from search import main as run_job  # noqa: PLC0415 - the others need neither torch nor Ray
        from search.later import wait_in  # noqa: PLC0415

        wait_in(jobs.__name__)
        job = import_module(f"{jobs.__name__}.{study}").JOB
        return run_job(job, _alone(command, rest, argv), called=f"qtable-sweeps {command}")
    elif command == "results":
        from results.__main__ import main as run_results  # noqa: PLC0415

        return run_results(_alone(command, rest, argv))
    elif command in _TOOLS:
        from search.__main__ import main as run_tool  # noqa: PLC0415

        return run_tool(argv)
    else:
        known = ", ".join([*_SHORT, "results", *_TOOLS, *studies])
        print(
            f"error: expected a study or tool, got {command[:80]!r}.\nHint: {known}",
            file=sys.stderr,
        )
        return 2
    return 0


def _alone(command: str, rest: list[str], argv: Sequence[str] | None) -> list[str] | None:
    """The words for a program that reads `sys.argv` itself: it hides passwords there."""
    if argv is not None:
        return rest
    sys.argv = [f"{sys.argv[0]} {command}", *rest]
    return None


if __name__ == "__main__":
    raise SystemExit(main())
