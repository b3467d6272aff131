"""Whether a machine can do the work: what each one says of itself, and what is wrong with it."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data import is_uri, unreachable
from core.errors import InputError
from results.files import Root
from search.cluster import card, provenance


@dataclass(frozen=True)
class Request:
    """What every machine is asked about."""

    paths: tuple[str, ...] = ()  # that must exist, and URIs that must be reached
    store: Root | None = None
    token: str = ""  # name of a file that the asker put into the store
    gpus: bool = False  # whether cells run on GPUs


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one machine says of itself."""

    host: str
    versions: str
    clock_s: float  # seconds since 1970
    missing_paths: tuple[str, ...]
    store_error: str  # empty where it reads and writes
    gpu: str  # the GPU in words, empty where torch finds none
    memory_gib: float
    gpu_error: str = ""  # why the GPU that is there cannot be used
    unreached: tuple[str, ...] = ()  # why, for each URI that this machine cannot read
    asked_at_s: float = 0.0  # by the asker's clock, seconds since 1970
    answered_s: float = 0.0  # how long the answer took


def examine(request: Request) -> Report:
    """Look at this machine."""
    uris = [path for path in request.paths if is_uri(path)]
    local = [path for path in request.paths if path not in uris]
    pages, size = (os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_PAGE_SIZE"))
    gpu = card.look()
    return Report(
        host=provenance.host(),
        versions=provenance.versions(),
        clock_s=time.time(),
        missing_paths=tuple(path for path in local if not Path(path).exists()),
        store_error="" if request.store is None else _store_error(request.store, request.token),
        gpu=gpu.words,
        gpu_error=gpu.wrong,
        memory_gib=pages * size / 2**30,
        unreached=tuple(why for why in map(unreachable, uris) if why),
    )


def _store_error(store: Root, token: str) -> str:
    try:
        if token and not store.exists(token):
            return "what the driver wrote is not there: the folder is not shared"
        name = f"sweeps/.from-{provenance.host()}-{os.getpid()}"
        store.write(name, b"1")
        store.delete(name)
    except OSError as error:
        return f"cannot be written: {error}"
    return ""


def check(reports: Sequence[Report], request: Request) -> None:
    """InputError that names every node on which cells could not run as they do here."""
    ours, wrong = provenance.versions(), []
    for report in reports:
        if report.versions != ours:
            wrong.append(f"{report.host} has {difference(report.versions, ours)}")
        wrong += [f"{report.host} has no {path}" for path in report.missing_paths]
        wrong += [f"{report.host}: {why}" for why in report.unreached]
        if request.gpus and report.gpu_error:
            wrong.append(f"{report.host}: its GPU: {report.gpu_error}")
        if report.store_error:
            uri = request.store.uri if request.store else ""
            wrong.append(f"{report.host}: the store {uri} {report.store_error}")
    if wrong:
        raise InputError(
            "not every node can run the cells:\n  " + "\n  ".join(wrong) + "\n"
            "Hint: the same requirements.lock on every node (`ray up` installs it), data at the "
            "same path on all or at a URI that all may read, --store a shared folder or "
            "s3://BUCKET/FOLDER; a GPU and driver that this torch knows, or --gpus 0. "
            "`python -m search doctor` asks again."
        )


def difference(theirs: str, ours: str) -> str:
    """The versions that differ: "torch 2.14.0 (driver: 2.15.0)"."""
    here = dict(pair.split("=", 1) for pair in ours.split())
    there = dict(pair.split("=", 1) for pair in theirs.split())
    differ = [name for name in sorted(here | there) if here.get(name) != there.get(name)]
    said = [f"{n} {there.get(n, 'none')} (driver: {here.get(n, 'none')})" for n in differ]
    return ", ".join(said)
