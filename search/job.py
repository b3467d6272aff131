"""A job: a question, its flags, and a function from a lab to an answer. Errors and exit codes."""

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import InputError
from results.shown import OUTPUT, forgiving, near, remember, scrubbed, show
from results.where import STORE_VARIABLE, default_store
from search import again, flags
from search.cluster.shipping import check_arguments, check_script
from search.later import import_now, later
from search.progress import say

with later():
    from core.data import sources
    from core.models import needs_training
    from core.training.epochs import check_trainable
    from results import Answer, publish
    from results.files import Root, denied
    from results.store import Store
    from results.words import fitted
    from search.engine.engine import Engine
    from search.engine.here import Here
    from search.engine.study import CellsFailed, Outcome
    from search.lab import Lab
    from search.winners import usual_table

EXIT_FAILED_CELLS = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
_STORE = (
    "Hint: --store names a folder or object store that can be read and written; what was stored "
    "before is kept."
)
_OUTPUT = (
    "Hint: what it is sent to takes no more; send it elsewhere. What was stored is kept, and the "
    "same command answers from it."
)


@dataclass(frozen=True)
class Job:
    """One question on the command line."""

    file: str
    question: str | None  # the module's docstring
    asked: type[flags.Flags]
    run: Callable[[Lab, Any], Answer]  # answers it with a lab and an instance of `asked`
    smoke: str  # flags for two small cells, as on a command line
    by_rows: bool = False  # rows of its sweeps, flags and data alone decide the answer: keep it
    # Whether anything but the classifier is trained, so that training images are needed.
    trains: Callable[[Any], bool] = lambda _: False

    @property
    def name(self) -> str:
        """The file's."""
        return Path(self.file).stem

    def answer(self, lab: Lab, asked: flags.Flags) -> Answer:
        """Import what the page's file has waiting, and run."""
        import_now(self.run.__globals__)
        import_now(globals())
        if self.trains(asked):
            check_trainable(lab.data)
        if getattr(asked, "table", None) == flags.USUAL:
            store, codec = lab.engine.store, getattr(asked, "codec", "ours")
            table = asked.begun_behind(store.root) or usual_table(store, lab.inputs, codec)
            lab.asked = asked = replace(asked, table=table)  # type: ignore[call-arg]
        found = self.run(lab, asked)
        smoke = "a smoke run, too few images to conclude anything from: " * asked.smoke
        return replace(found, text=fitted(found.text), verdict=f"{smoke}{found.verdict}")


def main(job: Job, argv: Sequence[str] | None = None, *, called: str = "") -> int:
    """Parse, run, print and store the answer; turn what a user can mend into a clear error.

    `called` is what the command is called, else its file.
    Exit codes: 0 answered, 1 some cells failed, 2 unusable input, 130 interrupted.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        words = sys.argv[1:] if argv is None else argv
        keep_secret(words)
        check_script()
        check_arguments(arguments=sys.argv[1:])
        said = job.question or ""
        name = called or f"{job.name}.py"
        asked = flags.parse(job.asked, name=name, question=said, argv=words, smoke=job.smoke)
        if asked.here and asked.gpus:
            raise InputError(
                "--here takes no --gpus: it uses the one GPU that torch finds.\nHint: leave it out."
            )
        alone = "torch" not in sys.modules  # else a program may have changed what it imported
        note = again.note_of(Path(job.file), asked) if job.by_rows and alone else None
        if note is not None and (text := again.kept(note)) is not None:
            say("nothing has changed since this was answered")
            show(text)
            return 0
        import_now(globals())
        with _store(asked) as store:
            return _answer(job, asked, store, note)
    except (ValueError, OSError) as error:
        if (text := in_words(error)) is None:
            raise
        say(f"error: {text}")
        return EXIT_INPUT
    except KeyboardInterrupt:
        say("\ninterrupted: what is finished is stored; the same command goes on from there")
        return EXIT_INTERRUPTED


def keep_secret(words: Sequence[str]) -> None:
    """Keep passwords among a command line's words from all that is shown, and from `ps`."""
    forgiving()
    if remember(*words) and list(words) == sys.argv[1:]:
        from search.cluster import connection  # noqa: PLC0415 - Ray, for those alone

        connection.hide_arguments([sys.executable, *map(scrubbed, sys.argv)])
    remember(os.environ.get(STORE_VARIABLE, ""))


def in_words(error: ValueError | OSError) -> str | None:
    """What a user is told of an error that can be mended; None for one of the program's own."""
    if isinstance(error, OSError):
        if error.filename is None:
            return f"the store or the network does not answer as it should: {error}\n{_STORE}"
        hint = _OUTPUT if error.filename == OUTPUT else _STORE
        return f"{error.filename} cannot be used: {error.strerror}\n{hint}"
    # Every text for a user has its hint; a ValueError without one is a traceback's business.
    return str(error) if isinstance(error, InputError) or "\nHint: " in str(error) else None


def _answer(job: Job, asked: flags.Flags, store: Store, note: Path | None) -> int:
    data = _data_seen(asked) if note is not None else {}
    engine: Engine | Here = Engine(store, asked.cpus, asked.gpus, asked.figure, asked.paths)
    if asked.here:
        engine = Here(store, asked.cpus or 1.0, asked.figure)
    lab = Lab(engine, asked)
    try:
        answer = job.answer(lab, asked)
    except CellsFailed as failure:
        return _failed(failure.outcome)
    finally:
        engine.stop()
    assert lab.swept, f"{job.name} answered without a sweep of its own"
    lines = [answer.text]
    try:
        for what, where in publish(store, *lab.swept[0], answer, again=asked.figure):
            lines += [] if asked.throwaway else [f"{what:>10}  {near(where)}"]
    except OSError as error:
        if not (asked.figure and denied(error)):
            raise
        lines += [f"note: {store.root.uri} takes no files, so the answer's are not written"]
    finally:
        lines += [f"{n} failed and is not tried again: {why}" for n, why in answer.failed.items()]
        show("\n".join(lines))
    if answer.failed:
        return EXIT_FAILED_CELLS
    if note is not None and data:
        folders = [*store.read_from, f"answers/{lab.swept[0][1]}"]
        again.keep(note, "\n".join(lines), data, map(store.root.path, folders))
    if asked.smoke:
        kept = "kept" if asked.store else "thrown away"
        say(f"smoke passed: too few images to conclude anything from, store {kept}")
    return 0


def _data_seen(asked: flags.Flags) -> dict[str, str]:
    """Digests of the data's files, before they are opened; none where more decides an answer."""
    with contextlib.suppress(OSError):  # files that are still to be fetched
        if needs_training(asked.model):
            return again.seen(sources(asked.data, root=asked.data_root))
    return {}


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _failed(outcome: Outcome) -> int:
    say(f"{len(outcome.failed)} cells of {outcome.study} failed, so there is no answer yet:")
    for cell_id, error in list(outcome.failed.items())[:10]:
        say(f"  {cell_id}: {error}")
    say("Hint: the same command tries them again and keeps all others.")
    return EXIT_FAILED_CELLS


@contextlib.contextmanager
def _store(asked: flags.Flags) -> Iterator[Store]:
    if asked.throwaway:
        with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
            yield Store(Root(folder))
        return
    if str(asked.store).startswith("memory:"):
        raise InputError(
            "a store in memory is not shared with the workers.\nHint: --store DIR, or s3://..."
        )
    yield Store(Root(default_store() if asked.store is None else asked.store))
