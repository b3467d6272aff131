"""Connecting to Ray: a cluster that is there, or one on this machine.

Ray is known here, in `search.cluster.nodes`, in `search.engine.task` and in `search.engine.run`,
and nowhere else.
"""

import contextlib
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import _raylet
from ray._private import ray_constants, services, worker
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._private.ray_logging import global_worker_stdstream_dispatcher as printed
from ray._private.ray_logging import stderr_deduplicator
from ray._private.utils import get_num_cpus

from core.errors import InputError
from search.cluster.shipping import ship
from search.progress import on_terminal, say

# glibc gives freed memory back to the system and faults it in again at every batch, a third of a
# cell's time, unless told to keep it. OpenMP's threads would spin beside a busy neighbour.
WORKER_ENV = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "OMP_WAIT_POLICY": "passive",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's coming default
}
_NOISY_LOGGER = "ray._private.authentication.authentication_token_setup"
_SURVEY_TIMEOUT_S = 120.0
_LOOK_S = 4.0  # for a port to answer
_PATIENCE_S, _SAID_S = 120.0, 10.0  # for Ray to start
_NEEDED_MIB = 64.0  # of a session's folder
_SOCKET_BYTES = len("/ray/session_2026-11-25_23-08-13_144000_1234567/sockets/plasma_store")
_MOST_SOCKET_BYTES = 107
_TOKEN = Path("~/.ray/auth_token")
_PRINTS = "ray_print_logs"  # what Ray calls its handler of what workers print
_QUIET: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": True}


def connect(*, start: bool = True, cpus: float = 0.0, gpus: float = 0.0) -> bool:
    """Join the cluster that RAY_ADDRESS or this machine names, else start Ray here.

    True where a cluster was joined: its workers are sent this process's own code. InputError
    where a cluster is named and cannot be reached, or where this machine has not the CPUs and GPUs
    of a task or Ray cannot start on it. `start` False starts nothing.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not on_terminal():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # no colours in a log
    logging.getLogger(_NOISY_LOGGER).addFilter(
        lambda record: not record.getMessage().startswith("Token authentication is enabled")
    )
    on_term, address = signal.getsignal(signal.SIGTERM), _address()
    if address:
        check_listens(address)
        say(f"connecting to the cluster at {address}")
        _join(address)
    elif start:
        _check_here(cpus, gpus)
        with _impatient():
            _start()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_term)  # Ray put its own in place
    _guard_token()
    if ray.is_initialized():
        printed.remove_handler(_PRINTS)
        printed.add_handler(_PRINTS, _relay)
    return address is not None


def _relay(batch: dict[str, Any]) -> None:
    """Say what a worker prints, above the bar; Ray would write over that, and name pids."""
    if batch["pid"] in ("autoscaler", "raylet"):
        worker.print_worker_logs(batch, sys.stderr, ignore_prefix=True)
        return
    for part in stderr_deduplicator.deduplicate(batch):
        elsewhere = part["ip"] != batch["localhost"]
        for line in part["lines"]:
            text = re.sub(r"\x1b\[[\d;]*m", "", line)  # colours
            say(f"{part['ip']}: {text}" if elsewhere else text)


def check_listens(address: str) -> None:
    """InputError unless something answers at HOST:PORT or ray://HOST:PORT: Ray tries minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK_S).close()
    except (OSError, ValueError, OverflowError) as error:
        hint = "RAY_ADDRESS=HOST:PORT of a head that runs, or RAY_ADDRESS=local for this machine"
        if not os.environ.get("RAY_ADDRESS"):
            hint = (
                "a `ray start` that is gone left this address behind; `ray stop` removes it, "
                "RAY_ADDRESS=local passes it over"
            )
        raise InputError(f"no cluster answers at {address}: {error}.\nHint: {hint}.") from error


def _check_here(cpus: float, gpus: float) -> None:
    """InputError where this machine can do no task, or Ray would find no room on it."""
    n_cpus, n_gpus = get_num_cpus(truncate=False), _n_gpus() if gpus else 0
    if cpus > n_cpus or gpus > n_gpus:
        raise InputError(
            f"a task is to have {cpus:g} CPUs and {gpus:g} GPUs, and this machine has {n_cpus:g} "
            f"and {n_gpus:g}.\nHint: smaller --cpus, --gpus; --gpus 0 computes on CPUs."
        )
    place = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    # As Ray names them: ray/session_2026-11-25_23-08-13_144000_1234567/sockets/plasma_store
    if (n := len(os.fsencode(place)) + _SOCKET_BYTES) > _MOST_SOCKET_BYTES:
        raise InputError(
            f"Ray cannot start: below {place} its sockets' paths have {n} bytes, and the system "
            f"allows {_MOST_SOCKET_BYTES}.\nHint: RAY_TMPDIR=/tmp, or a shorter TMPDIR."
        )
    free_mib = shutil.disk_usage(place).free / 2**20 if place.is_dir() else _NEEDED_MIB
    if free_mib < _NEEDED_MIB:
        raise InputError(
            f"Ray cannot start: {place} has {free_mib:.0f} MiB left for its session folder.\n"
            "Hint: make room, or RAY_TMPDIR=DIR names another."
        )


def _n_gpus() -> int:
    manager: Any = get_accelerator_manager_for_resource("GPU")
    visible = manager.get_current_process_visible_accelerator_ids()
    n: int = manager.get_current_node_num_accelerators()
    return n if visible is None else min(n, len(visible))


def _join(address: str) -> None:
    # A head that was begun where there is a token wants it, and Ray sends it on request alone.
    maybe_enable_token_auth_if_token_available(False)
    shipped = {"py_modules": ship(), "env_vars": WORKER_ENV}
    try:
        ray.init(address=address, runtime_env=shipped, **_QUIET)
    except Exception as error:
        raise InputError(
            f"cannot join the cluster at {address}: {error}\n"
            "Hint: RAY_ADDRESS=local runs on this machine. A head that was begun with a token "
            f"wants it of others: RAY_AUTH_MODE=token sends that of {_TOKEN}. "
            "`python -m search doctor` looks closer."
        ) from error


def _start() -> None:
    """Start Ray on this machine, where nobody else reaches it; try once again where it fails."""
    os.environ.update({name: os.environ.get(name, WORKER_ENV[name]) for name in WORKER_ENV})
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", f"{_PATIENCE_S:.0f}")
    # What Ray does on laptops whose firewall asks: listen on the loopback alone.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    for last in (False, True):
        try:
            with _patient():
                ray.init(address="local", include_dashboard=False, **_QUIET)
        except Exception as error:
            disconnect()
            if last:
                raise InputError(
                    f"Ray does not start on this machine: {error}\n"
                    "Hint: is the machine busy, its memory, /dev/shm or the folder for temporary "
                    "files full? --here runs without Ray; `python -m search doctor` looks closer."
                ) from error
            say(f"Ray did not start ({type(error).__name__}: {error}); trying once again")
        else:
            return


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Ray gives its own processes 30 s to register, too little on a busy machine."""
    usual: Any = services.get_node
    said = False

    def get_node(*args: Any, **named: Any) -> Any:
        nonlocal said
        start = time.monotonic()
        while True:
            try:
                return usual(*args, **named)
            except RuntimeError:
                waited_s = time.monotonic() - start
                if waited_s > _PATIENCE_S:
                    raise
                if waited_s > _SAID_S and not said:
                    said = True
                    say(f"Ray is slow to start on this machine: waiting up to {_PATIENCE_S:g} s")
                time.sleep(1.0)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = usual


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """End at the second Ctrl-C, with what was started: Ray's own code does not look at signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, tell = socket.socketpair()
    tell.setblocking(False)
    before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        n = 0
        with heard:
            while word := heard.recv(1):
                n += word[0] == signal.SIGINT
                if n == 2:
                    for children in Path("/proc/self/task").glob("*/children"):
                        for child in children.read_text().split():
                            os.kill(int(child), signal.SIGKILL)
                    os._exit(128 + signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        tell.close()


def hide_arguments(words: Sequence[str]) -> None:
    """Replace what lists of processes show of this one, and what Ray notes as its entry point."""
    set_title: Callable[[str], None] = vars(_raylet)["setproctitle"]  # Python has none of its own
    set_title(shlex.join(words))


def _guard_token() -> None:
    """A local Ray writes its token so that others can read it."""
    path = _TOKEN.expanduser()
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _address() -> str | None:
    """The cluster that RAY_ADDRESS names, or that `ray start` began on this machine."""
    # Not "auto", which would join whatever Ray somebody else's script runs here.
    address = os.environ.get("RAY_ADDRESS") or services.find_bootstrap_address(None)
    return None if address == "local" else address


def disconnect() -> None:
    """Leave the cluster; end it where this process started it."""
    ray.shutdown()


def connected() -> bool:
    """Whether this process is part of a cluster."""
    return bool(ray.is_initialized())
