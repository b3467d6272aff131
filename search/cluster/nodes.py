"""The machines: what they have, and whether they can do the work."""

import math
import time
from dataclasses import replace

import ray
import yaml
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.cluster.examine import Report, Request, examine
from search.cluster.shipping import LAUNCHER_FILE
from search.progress import duration, say

_SURVEY_TIMEOUT_S = 120.0


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
