"""Where a tuning study's trials are kept, and the lease that keeps a second driver out.

- By default a journal, `tuning/NAME.journal` under the store's root, a folder of this machine or of
  one that it mounts. The lease is an exclusive `flock` on `NAME.journal.lease`.
- `sqlite:///FILE`: the same lease, on `FILE.NAME.lease`. For a disk of this machine only: SQLite
  itself does not stand a shared one.
- `postgresql://...`: any machine that reaches the server. The lease is an advisory lock of a
  connection of its own, which the server gives back when the driver dies.

Whoever holds the lease is alone. What a killed driver left half done is then mended: a torn last
line of the journal, and Optuna's lock file.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from core.errors import InputError
from results.files import Root
from results.shown import redacted, scrubbed
from search.cluster import provenance
from search.progress import say

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2")
_ALIVE_S = 60  # silence after which the server asks whether the driver's machine is there
_CONNECT_S = 20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Opened:
    """A storage, the lease on one study in it, and how people may call it."""

    storage: BaseStorage
    name: str  # where it is, without secrets
    check_lease: Callable[[], None] = lambda: None  # InputError where it was lost meanwhile


def _check(root: Root, study: str, url: str | None) -> None:
    """InputError for a name that is no plain word, or a journal that is to lie in no folder."""
    if not _PLAIN_NAME.fullmatch(study):  # it becomes part of file names
        raise InputError(
            f"a study's name has 1 to 64 letters, digits, dots, dashes and underscores and begins "
            f"with a letter or digit, got {study[:80]!r}.\nHint: --study digits-fgsm8"
        )
    if url is None and not root.is_local:
        raise InputError(
            f"the store {root.uri} is no folder, and a journal must lie in one.\n"
            "Hint: give --storage postgresql://USER@HOST/DATABASE; rows stay in the store."
        )


@contextlib.contextmanager
def opened(root: Root, study: str, url: str | None) -> Iterator[Opened]:
    """The study's storage while this process holds its lease; InputError where it cannot be."""
    _check(root, study, url)
    if url is None:
        yield from _journal(Path(root.within(f"tuning/{study}.journal")), study)
        return
    kind, _, rest = url.partition("://")
    file = urllib.parse.unquote(rest[1:].split("?")[0])
    if kind == "sqlite" and rest.startswith("/") and file and not file.startswith(":"):
        yield from _sqlite(url, Path(file), study)
    elif kind in _POSTGRESQL and rest:
        yield from _postgresql(f"postgresql://{rest}", study)
    else:
        raise InputError(
            f"no tuning study can be kept in {scrubbed(redacted(url), url)!r}.\n"
            "Hint: postgresql://USER@HOST/DATABASE, sqlite:///FILE on this machine's own disk, or "
            "no --storage for a journal beside the rows."
        )


def _journal(path: Path, study: str) -> Iterator[Opened]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _file_lease(path.with_name(f"{path.name}.lease"), study):
        for left_over in path.parent.glob(f"{path.name}.lock*"):
            left_over.unlink(missing_ok=True)
        sums = path.with_name(f"{path.name}.sum")
        _check_sum(path, sums)
        repair(path)
        _write_sum(path, sums)  # of what `repair` left: a kill from now on lets it grow alone
        try:
            storage = JournalStorage(JournalFileBackend(str(path)))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is no journal of Optuna: {error}.\n"
                "Hint: move it away, or choose another --study."
            ) from error
        try:
            yield Opened(storage, str(path))
        finally:
            _write_sum(path, sums)


def _check_sum(path: Path, sums: Path) -> None:
    """InputError where the journal's beginning is not as the last driver left it; it may grow."""
    if not sums.exists():
        return
    n_bytes, _, expected = sums.read_text("ascii", "replace").strip().partition(" ")
    data = path.read_bytes()[: int(n_bytes)] if n_bytes.isdecimal() and path.exists() else b""
    if hashlib.sha256(data).hexdigest() != expected:
        raise InputError(
            f"{path} was damaged or changed: its beginning is not what the study's last driver "
            "left.\nHint: bring it back from a copy, or choose another --study; chains that are "
            f"stored are found again. Whoever changed it on purpose deletes {sums.name}."
        )


def _write_sum(path: Path, sums: Path) -> None:
    """How many bytes the journal has, and their digest."""
    if path.exists():
        data = path.read_bytes()
        aside = sums.with_name(f"{sums.name}.part")
        aside.write_text(f"{len(data)} {hashlib.sha256(data).hexdigest()}\n", "ascii")
        aside.replace(sums)


def _sqlite(url: str, path: Path, study: str) -> Iterator[Opened]:
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}.\nHint: make it, or sqlite:////PATH.")
    lease_file = path.with_name(f"{path.name}.{study}.lease")
    with _file_lease(lease_file, study), _rdb(url, url) as storage:
        yield Opened(storage, redacted(url))


def repair(path: Path) -> None:
    """Cut what stands after the journal's last whole line.

    A driver killed while it wrote leaves half a line, and the next line would be glued to it. A
    machine that lost power may leave a line of another content. Only the lease's holder may call
    this.
    """
    data = path.read_bytes() if path.exists() else b""
    *lines, torn = data.split(b"\n")
    n_cut = len(torn)
    if lines and not _is_json(lines[-1]):
        n_cut += len(lines[-1]) + 1
    if n_cut:
        with path.open("r+b") as file:
            file.truncate(len(data) - n_cut)
            os.fsync(file.fileno())
        say(f"{path.name}: a torn last line of {n_cut} bytes, left by a killed driver, was cut")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _file_lease(path: Path, study: str) -> Iterator[None]:
    """The kernel keeps a file's lock until its holder ends."""
    with path.open("a+", errors="replace") as file:  # it stays, for others may hold it open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _taken(study, file.read(200)) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {provenance.host()}")
        file.flush()
        yield


def _taken(study: str, holder: str) -> InputError:
    return InputError(
        f"the study {study!r} has a driver already{f' ({holder})' if holder else ''}; a study has "
        "one at a time.\nHint: wait for it or end it; --study NAME starts another study."
    )


def _check_connection(connection: Any) -> None:
    """InputError where the connection, and the lock with it, is gone."""
    import psycopg  # noqa: PLC0415  an extra

    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        raise InputError(
            "the connection that held the study's lease is gone.\n"
            "Hint: run the same command again; finished trials are kept."
        ) from None


def _postgresql(url: str, study: str) -> Iterator[Opened]:
    try:
        import psycopg  # noqa: PLC0415  an extra
    except ImportError:
        raise InputError(
            "PostgreSQL needs the package psycopg.\nHint: pip install 'qtable-sweeps[postgresql]'"
        ) from None
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_S)
    except (psycopg.Error, ValueError) as error:
        raise _unreachable(url, error) from None
    with contextlib.closing(connection):
        # A machine that vanished closes nothing: the server must ask for it.
        for name, value in (("idle", _ALIVE_S), ("interval", 10), ("count", 6)):
            connection.execute(f"SET tcp_keepalives_{name} = {value:d}")
        digest = hashlib.sha256(f"qtable-sweeps tuning {study}".encode()).digest()
        number = int.from_bytes(digest[:8], "little", signed=True)  # one of 2^64 of a database
        held = connection.execute("SELECT pg_try_advisory_lock(%s)", (number,))
        if held.fetchone() != (True,):
            raise _taken(study, "")
        with _rdb(url.replace("postgresql://", "postgresql+psycopg://", 1), url) as storage:
            yield Opened(storage, redacted(url), partial(_check_connection, connection))


@contextlib.contextmanager
def _rdb(url: str, shown: str) -> Iterator[BaseStorage]:
    try:
        storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except Exception as error:  # noqa: BLE001  SQLAlchemy's and the driver's own
        raise _unreachable(shown, error) from None
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _unreachable(url: str, error: Exception) -> InputError:
    return InputError(
        f"cannot open {redacted(url)}: {scrubbed(str(error), url).strip()}\n"
        "Hint: does the server run, does the database exist, may this user write to it? Passwords "
        "belong into ~/.pgpass or PGPASSWORD."
    )


def question_of(opened: Opened, study: str) -> dict[str, Any] | None:
    """What a study asks that is kept there; None where there is none, or it does not say."""
    try:
        number = opened.storage.get_study_id_from_name(study)
    except KeyError:
        return None
    found: dict[str, Any] | None = opened.storage.get_study_user_attrs(number).get("question")
    return found


def remember(study: optuna.Study, question: dict[str, Any]) -> bool:
    """Keep what the study asks; whether it is new. InputError where it asked otherwise."""
    plain = json.loads(json.dumps(question, sort_keys=True))
    known = study.user_attrs.get("question")
    if known is None:
        if study.get_trials(deepcopy=False):
            raise InputError(
                f"the study {study.study_name!r} holds trials of something else: it does not say "
                "what it asks.\nHint: choose another --study."
            )
        text = json.dumps(plain, sort_keys=True)
        study.set_user_attr("question_sha256", hashlib.sha256(text.encode()).hexdigest())
        study.set_user_attr("question", plain)  # the last: a study without it is a new one
    elif known != plain:
        changes = "\n".join(
            f"  {name}: {_worded(known, name)} there, {_worded(plain, name)} now"
            for name in sorted(known.keys() | plain.keys())
            if known.get(name) != plain.get(name)
        )
        raise InputError(
            f"the study {study.study_name!r} asks another question:\n{changes}\n"
            "Hint: ask as before, or choose another --study."
        )
    return known is None


def _worded(question: dict[str, Any], name: str) -> str:
    return json.dumps(question[name]) if name in question else "nothing"
