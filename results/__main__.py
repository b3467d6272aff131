"""What a store holds, from any machine that sees it, without Ray.

python -m results                          # list the sweeps: done, failed, how fast, how long
python -m results show SWEEP               # one sweep: state, provenance, best tables
python -m results log SWEEP                # what its runs had to say
python -m results compact SWEEP            # merge its many small files into one
python -m results export SWEEP rows.csv    # its rows as .csv or .parquet
python -m results report                   # answers, figures, provenance: all in one HTML page
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import results
from results.files import Root
from results.page.listing import current, left, listing, rate
from results.shown import fault, forgiving, near, plain, remember, scrubbed, show
from results.store import VERDICT, Store
from results.where import DEFAULT_STORE, STORE_VARIABLE, default_store, meant

if TYPE_CHECKING:
    from results import Rows

State = dict[str, Any]
_WIDTH = 100  # columns of what is listed


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command line."""

    store: str | None
    command: str | None
    sweep: str = ""
    study: str | None = None
    to: Path = Path()
    out: Path | None = None


def command_line() -> argparse.ArgumentParser:
    """What can be asked."""
    look = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m results", description=__doc__, formatter_class=look, allow_abbrev=False
    )
    parser.add_argument("--store", metavar="URI", help=f"[{STORE_VARIABLE}, else {DEFAULT_STORE}]")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    where = _Parser(add_help=False)
    where.add_argument("--store", default=argparse.SUPPRESS, metavar="URI", help=argparse.SUPPRESS)
    commands.add_parser("list", help="list the sweeps (the default)", parents=[where])
    for name, text in (
        ("show", "state, provenance and best tables of a sweep"),
        ("log", "what the runs of a sweep had to say"),
        ("compact", "merge the many small files of a sweep into one"),
        ("export", "write the rows of a sweep to one file"),
    ):
        command = commands.add_parser(name, help=text, parents=[where])
        command.add_argument("sweep", metavar="SWEEP", help="its name, or its beginning or end")
        command.add_argument("--study", help="where several studies have a sweep of that name")
        if name == "export":
            command.add_argument("to", type=Path, metavar="FILE", help=".csv or .parquet")
    command = commands.add_parser("report", help="all of it as one HTML page", parents=[where])
    to = "[report.html in the store's folder]"
    command.add_argument("--out", type=Path, metavar="FILE", help=to)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 2 where the input cannot be used."""
    words = sys.argv[1:] if argv is None else argv
    forgiving()
    remember(*words, os.environ.get(STORE_VARIABLE, ""))
    try:
        _check(words)
        _run(Asked(**vars(command_line().parse_args(argv))))
    except (ValueError, OSError) as error:
        print(plain(scrubbed(f"error: {error}")), file=sys.stderr)
        return 2
    return 0


class _Parser(argparse.ArgumentParser):
    """Tells no secrets in its errors."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2, with the usage."""
        super().error(plain(scrubbed(message)))


def _check(words: Sequence[str]) -> None:
    for option in ("--store", "--study", "--out"):
        if sum(word.partition("=")[0] == option for word in words) > 1:
            raise ValueError(f"{option} is given twice.\nHint: which is meant?")
    if faults := list(filter(None, map(fault, words))):
        raise ValueError(f"{faults[0]}.\nHint: is a variable of the shell unset?")


def _run(options: Asked) -> None:
    store = Store(_root(options.store))
    if options.command == "report":
        from results.page.page import write_report  # noqa: PLC0415 - the others need no pandas

        show(f"{'report':>9}  {near(write_report(store, options.out))}")
        return
    states = store.states()
    known = {(state["study"], state["sweep"]) for state in states}
    lost = [_without_state(*one) for one in sorted(store.sweeps() - known)]
    if options.command in (None, "list"):
        show(listing(states, store))
        for one in lost:
            show(f"{one['study']} {one['sweep']}\n  rows without a state that can be read")
        return
    state = _find(options, [*states, *lost], store)
    study, sweep = state["study"], state["sweep"]
    if options.command == "show":
        _show(store, state)
    elif options.command == "log":
        for run, text in store.logs(study, sweep):
            show(f"== {run}\n{text}", end="")
    elif options.command == "compact":
        if current(state) == "running":
            raise ValueError(
                f"{sweep} is running (last sign of life {state['updated_at']}).\n"
                "Hint: compact it when it has ended."
            )
        show(f"{store.compact(study, sweep)} files of {study} {sweep} merged into one")
    else:
        _export(results.load(study, sweep=sweep, store=store.root), options.to)


def _root(uri: str | None) -> Root:
    root = Root(default_store() if uri is None else uri)
    path = Path(root.within(""))
    if root.is_local and path.exists() and not path.is_dir():
        raise ValueError(
            f"expected a folder as the store, found a file: {root.uri}.\nHint: --store DIR or URI"
        )
    return root


def _without_state(study: str, sweep: str) -> State:
    """Of a sweep whose state is lost or cannot be read: its rows are there all the same."""
    return {"study": study, "sweep": sweep, "state": "not known", "failed": {}}


def _find(options: Asked, states: list[State], store: Store) -> State:
    sweep, study = options.sweep, options.study
    own = [s for s in states if study in (None, s["study"])]
    names = meant(sweep, [s["sweep"] for s in own])
    matches = [s for s in own if s["sweep"] in names]
    if not study:
        asked_for = [s for s in matches if s["study"] != "qtable_report" and s.get("listed", True)]
        matches = asked_for or matches
    if len(matches) == 1:
        return matches[0]
    shown = ", ".join(f"{s['study']} {s['sweep']}" for s in matches or states) or "nothing"
    found = "several" if matches else "none"
    raise ValueError(
        f"expected one sweep called {sweep!r} in {store.root.uri}, found {found}; there is "
        f"{shown}.\nHint: give more of the name's beginning or end, or --study."
    )


def _show(store: Store, state: State) -> None:
    from results.words import fitted  # noqa: PLC0415 - pandas, which the listing does without

    hidden = ("failed", "state", "n_run", "listed", "left_s", "rate_per_s", "pid", "wall_s")
    facts = {
        "store": store.root.uri,
        "state": current(state),
        "rate": rate(state),
        "left": left(state),
    }
    facts |= {name: value for name, value in state.items() if name not in hidden}
    if "wall_s" in state:
        facts["last run"] = f"{state['wall_s']:.1f} s"
    for name, value in facts.items():
        text = str(value)[:19].replace("T", " ") if name.endswith("_at") else value
        said = f"{name:>12}  {text}"
        if text != "":
            show(said if name == "command" else fitted(said, _WIDTH))  # as it is typed
    for cell, error in state["failed"].items():
        show(fitted(f"      failed  {cell}: {error}", _WIDTH))
    study, sweep = state["study"], state["sweep"]
    rows = results.load(study, sweep=sweep, store=store.root)
    work_s = rows.groupby("cell_id", observed=True)["wall_s"].first().sum()
    show(f"        rows  {len(rows)}, from {work_s:.1f} s of work")
    folder = f"answers/{sweep}"
    for name in store.root.sizes(folder):
        if name == VERDICT:
            said = store.root.read(f"{folder}/{name}").decode(errors="replace").strip()
            show(fitted(f"{'verdict':>12}  {said}", _WIDTH))
        elif name.endswith((".txt", ".png")):
            what = "figure" if name.endswith(".png") else name.partition(".")[0]
            show(f"{what:>12}  {near(store.root.path(f'{folder}/{name}'))}")
    if study.startswith("qtable_"):
        show(_tables(rows))
    if study == "qtable_search" and ("qtable_report", sweep) in store.sweeps():
        held_out = results.load("qtable_report", sweep=sweep, store=store.root)
        show(f"held-out report\n{_tables(held_out)}")


def _tables(rows: "Rows") -> str:
    lines = results.summary(results.once(rows, ["subject", "table"]), partial=True)
    shown = ["table", "acc_benign", "acc_dec", "def_all", "def_successful"]
    best = lines.sort_values("def_all", ascending=False)[shown].head(10)
    return best.round(1).to_string(index=False)


def _export(rows: "Rows", to: Path) -> None:
    """Written aside and renamed: what has the name is whole."""
    writers: dict[str, Any] = {".csv": rows.to_csv, ".parquet": rows.to_parquet}
    if to.suffix not in writers:
        raise ValueError(f"expected a file ending in .csv or .parquet, got {to}.\nHint: rows.csv")
    if not to.parent.is_dir():
        raise ValueError(
            f"expected a folder that is there, found none: {to.parent}.\nHint: make it."
        )
    aside = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        writers[to.suffix](aside, index=False)
        aside.replace(to)
    finally:
        aside.unlink(missing_ok=True)
    show(f"{len(rows)} rows written to {to}")


if __name__ == "__main__":
    raise SystemExit(main())
