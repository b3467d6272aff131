"""Whether this machine, or the cluster it belongs to, can run a search; and what to do if not."""

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.data import open_data
from core.errors import InputError
from results.files import Root
from results.shown import redacted
from results.store import Store
from search.cluster import connection, nodes, provenance
from search.cluster.examine import Report, Request, difference, examine

_TOKEN = Path("~/.ray/auth_token")
_CLOCK_S = 5.0  # by how much two machines' clocks may differ
_NEEDED_GIB = 4.0
_SAME_PATH = "the same path must exist on every node"
_OTHER_GPU = "a newer driver, a GPU of a kind that this torch knows, or --gpus 0"
_REACH = "every node needs the network, credentials that may list and read, and the package for it"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `wrong` and `hint` are empty where all is well."""

    what: str
    found: str
    wrong: str = ""
    hint: str = ""

    def text(self) -> str:
        """One or two lines."""
        if not self.wrong:
            return f"ok     {self.what}: {self.found}"
        return f"WRONG  {self.what}: {self.wrong}\n       Hint: {self.hint}"


@dataclass(frozen=True)
class Questions:
    """What the user wants to run."""

    store: str
    data: str
    data_root: str | None
    paths: tuple[str, ...]
    gpus: float | None


def findings(asked: Questions) -> Iterator[Finding]:
    """Look at everything, one thing after the other."""
    here = examine(Request(asked.paths))
    yield Finding("versions", here.versions)
    yield _gpu(here, asked.gpus)
    yield _memory(here)
    yield _data(asked)
    for path in here.missing_paths:
        yield Finding("path", path, f"{path} is not here", _SAME_PATH)
    for why in here.unreached:
        yield Finding("URI", "", why, _REACH)
    yield from _token()
    root = None
    try:
        root = Root(asked.store)
    except ValueError as error:
        yield Finding("store", "", *_worded(error))
    else:
        writes = _writes(root)
        yield writes
        if not writes.wrong:
            yield _atomic(root)
    yield from _cluster(asked, root)


def _gpu(here: Report, wanted: float | None) -> Finding:
    if here.gpu_error:
        return Finding("GPU", "", f"{here.gpu or here.host}: {here.gpu_error}", _OTHER_GPU)
    if not here.gpu and wanted:
        wrong = f"torch finds none on {here.host}, and --gpus {wanted:g} asks for one"
        hint = "install the driver and the CUDA build of torch, or --gpus 0"
        return Finding("GPU", "", wrong, hint)
    return Finding("GPU", here.gpu or "none here: cells run on CPUs unless the cluster has some")


def _memory(here: Report) -> Finding:
    found = f"{here.memory_gib:.1f} GiB"
    hint = f"a worker with torch and a network wants {_NEEDED_GIB:g} GiB or more"
    return Finding("memory", found, found if here.memory_gib < _NEEDED_GIB else "", hint)


def _data(asked: Questions) -> Finding:
    what = f"data {redacted(asked.data)}"
    try:
        data = open_data(asked.data, root=asked.data_root)
        sizes = ", ".join(f"{split} {data.size(split)}" for split in ("train", "search", "report"))
    except InputError as error:
        return Finding(what, "", *_worded(error))
    return Finding(what, f"{len(data.classes)} classes, {data.side} px, {sizes}")


def _worded(error: Exception) -> tuple[str, str]:
    wrong, _, hint = str(error).partition("\nHint: ")
    return wrong, hint or "see the message"


def _token() -> Iterator[Finding]:
    path = _TOKEN.expanduser()
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if path.is_file():
        open_to = stat.S_IMODE(path.stat().st_mode) & 0o077
        wrong = f"{path} can be read by others (mode {open_to:03o} too much)" if open_to else ""
        yield Finding("token", f"{path}, yours alone", wrong, f"chmod 600 {path}")
    elif mode == "token":
        hint = "`ray get-auth-token --generate` makes one; cluster.yaml mounts it on every node"
        yield Finding("token", "", f"RAY_AUTH_MODE=token, but there is no {path}", hint)
    else:
        yield Finding("token", f"no {path}; a local run needs none, a cluster does")


def _writes(root: Root) -> Finding:
    start = time.perf_counter()
    try:
        Store(root).check_writable()
    except OSError as error:
        hint = "mend the permission, the credentials or the address"
        return Finding(f"store {root.uri}", "", f"cannot be written: {error}", hint)
    wall_ms = 1000 * (time.perf_counter() - start)
    return Finding(f"store {root.uri}", f"writable, {wall_ms:.0f} ms to write and delete a file")


def _atomic(root: Root) -> Finding:
    """Read a file while it is replaced: always one whole version, never a piece."""
    name = f"sweeps/.doctor-{os.getpid()}"
    versions = [bytes([65 + i]) * 2**20 for i in range(2)]
    torn: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                data = root.read(name)
            except FileNotFoundError:
                data = b""
            if data not in versions:
                torn.append(len(data))

    try:
        root.write(name, versions[0])
        reader = threading.Thread(target=read)
        reader.start()
        for i in range(10):
            root.write(name, versions[i % 2])
        done.set()
        reader.join()
        root.delete(name)
    except OSError as error:
        done.set()
        return Finding("atomic writes", "", str(error), "see the store's finding")
    wrong = f"{len(torn)} reads of a file that was being replaced were torn" if torn else ""
    hint = "use another file system or an object store; rows could be lost on this one"
    return Finding("atomic writes", "a file is seen whole or not at all", wrong, hint)


def _cluster(asked: Questions, root: Root | None) -> Iterator[Finding]:
    try:
        joined = connection.connect(start=False)
    except InputError as error:
        yield Finding("cluster", "", *_worded(error))
        return
    if not joined:
        yield Finding("cluster", "none named or running here: a search starts Ray on this machine")
        return
    try:
        yield from _nodes(asked, root)
    finally:
        connection.disconnect()


def _nodes(asked: Questions, root: Root | None) -> Iterator[Finding]:
    have = nodes.nodes()
    cpus, gpus = sum(c for c, _ in have), sum(g for _, g in have)
    more = f"may still start {nodes.launchable() or 'none'}"
    yield Finding("cluster", f"{len(have)} nodes, {cpus:g} CPUs, {gpus:g} GPUs; {more}")
    with Store(root).beacon() if root else contextlib.nullcontext("") as token:
        reports, silent = nodes.survey(Request(asked.paths, root, token))
    for node in silent:
        yield Finding(f"node {node}", "", "no answer", "is it overloaded, or its Ray dead?")
    for report in reports:
        yield from _node(report)


def _node(report: Report) -> Iterator[Finding]:
    what = f"node {report.host}"
    other = difference(report.versions, provenance.versions())
    late_s = report.clock_s - report.asked_at_s
    checks = (
        (other, f"has {other}", "install the same requirements.lock on every node"),
        (report.missing_paths, f"has no {', '.join(report.missing_paths)}", _SAME_PATH),
        (report.unreached, "; ".join(report.unreached), _REACH),
        (report.store_error, f"store {report.store_error}",
         "--store must be a folder that all nodes share, or s3://BUCKET/FOLDER"),
        (not -_CLOCK_S < late_s < _CLOCK_S + report.answered_s,
         f"its clock differs by {late_s:.0f} s", "run an NTP client on every node"),
        (report.gpu_error, f"its GPU: {report.gpu_error}", _OTHER_GPU),
    )  # fmt: skip
    found = [Finding(what, "", wrong, hint) for bad, wrong, hint in checks if bad]
    yield from found
    if not found:
        gpu = f", {report.gpu}" if report.gpu else ""
        yield Finding(what, f"{report.memory_gib:.0f} GiB{gpu}, sees the store")
