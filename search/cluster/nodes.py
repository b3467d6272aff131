"""The machines: connecting to them, what they have, and whether they can do the work.

Ray is known here, in `search.engine.task` and in `search.engine.run`, and nowhere else.
"""

import contextlib
import logging
import math
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import yaml
from ray._private.services import find_bootstrap_address
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from core.errors import InputError
from search.cluster.examine import Report, Request, examine
from search.cluster.shipping import LAUNCHER_FILE, ship
from search.progress import duration, on_terminal, say

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


def connect(*, start: bool = True) -> bool:
    """Join the cluster that RAY_ADDRESS or this machine names, else start Ray here.

    True where a cluster was joined: its workers are sent this process's own code. InputError
    where a cluster is named and cannot be reached. `start` False starts nothing.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not on_terminal():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # no colours in a log
    logging.getLogger(_NOISY_LOGGER).addFilter(
        lambda record: not record.getMessage().startswith("Token authentication is enabled")
    )
    on_term, address = signal.getsignal(signal.SIGTERM), _address()
    if address:
        say(f"connecting to the cluster at {address}")
    try:
        joined = _join_or_start(address, start=start)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"cannot reach or start Ray (address: {address or 'this machine'}): {error}\n"
            "Hint: RAY_ADDRESS=local runs on this machine; or start the cluster that is named. "
            "`python -m search doctor` looks closer."
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_term)  # Ray put its own in place
    _guard_token()
    return joined


def _guard_token() -> None:
    """A local Ray writes its token so that others can read it."""
    path = Path("~/.ray/auth_token").expanduser()
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _address() -> str | None:
    """The cluster that RAY_ADDRESS names, or that `ray start` began on this machine."""
    # Not "auto", which would join whatever Ray somebody else's script runs here.
    address = os.environ.get("RAY_ADDRESS") or find_bootstrap_address(None)
    return None if address == "local" else address


def _join_or_start(address: str | None, *, start: bool) -> bool:
    quiet: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": True}
    if address:
        shipped = {"py_modules": ship(), "env_vars": WORKER_ENV}
        ray.init(address=address, runtime_env=shipped, **quiet)
    elif start:
        os.environ.update({name: os.environ.get(name, WORKER_ENV[name]) for name in WORKER_ENV})
        ray.init(address="local", include_dashboard=False, **quiet)
    return address is not None


def nodes() -> list[tuple[float, float]]:
    """CPUs and GPUs of each living node."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(float(r.get("CPU", 0)), float(r.get("GPU", 0))) for r in alive]


def launchable() -> list[tuple[float, float, int]]:
    """CPUs, GPUs and largest number of each kind of node that the autoscaler may still start."""
    try:
        text = LAUNCHER_FILE.expanduser().read_text(encoding="utf-8")
        kinds = yaml.safe_load(text)["available_node_types"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []
    found = []
    for kind in kinds.values():
        resources, limit = kind.get("resources") or {}, int(kind.get("max_workers") or 0)
        if limit:
            cpus, gpus = (float(resources.get(name, 0)) for name in ("CPU", "GPU"))
            found.append((cpus, gpus, limit))
    return found


def default_gpus() -> float:
    """GPUs per task unless asked otherwise: 1 where nodes have or will have them, else 0."""
    with_gpus = [gpus for _, gpus in nodes()] + [gpus for _, gpus, _ in launchable()]
    return 1.0 if any(gpus >= 1 for gpus in with_gpus) else 0.0


def default_cpus(gpus: float) -> float:
    """CPUs per task unless asked otherwise: of GPU tasks their share of the poorest GPU node.

    One thread that decodes pictures does not feed a GPU while the node's other CPUs idle.
    """
    kinds = nodes() + [(cpus, have) for cpus, have, _ in launchable()]
    shares = [cpus * gpus / have for cpus, have in kinds if gpus and have >= gpus and cpus]
    return max(1.0, math.floor(min(shares, default=1.0)))


def slots(cpus: float, gpus: float) -> int:
    """How many tasks of that size fit at once, nodes that may still be started included."""

    def fit(have_cpus: float, have_gpus: float) -> int:
        return int(min(have / n for have, n in ((have_cpus, cpus), (have_gpus, gpus)) if n))

    now = sum(fit(*node) for node in nodes())
    later = sum(fit(c, g) * limit for c, g, limit in launchable())
    return max(now, later, 1)


def survey(request: Request) -> tuple[list[Report], list[str]]:
    """Every living node's report, and the addresses of those that gave none in time."""
    task = ray.remote(num_cpus=0, max_retries=0)(examine)
    asked = {}
    start, asked_at_s = time.monotonic(), time.time()
    for node in ray.nodes():
        if node["Alive"]:
            pinned = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[task.options(scheduling_strategy=pinned).remote(request)] = node
    done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_SURVEY_TIMEOUT_S)
    reports, silent = [], [asked[ref]["NodeManagerAddress"] for ref in late]
    for ref in done:
        try:
            report = ray.get(ref)
            took_s = time.time() - asked_at_s
            reports.append(replace(report, asked_at_s=asked_at_s, answered_s=took_s))
        except ray.exceptions.RayError as error:
            silent.append(f"{asked[ref]['NodeManagerAddress']} ({type(error).__name__})")
    say(f"{len(reports)} of {len(asked)} nodes looked at in {duration(time.monotonic() - start)}")
    return sorted(reports, key=lambda report: report.host), silent


def disconnect() -> None:
    """Leave the cluster; end it where this process started it."""
    if ray.is_initialized():
        ray.shutdown()


def connected() -> bool:
    """Whether this process is part of a cluster."""
    return bool(ray.is_initialized())
