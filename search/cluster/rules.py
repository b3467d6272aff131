"""What would be unsafe or costly in a cluster file that Ray's own schema accepts.

Each rule guards against one of Ray's defaults or one slip of the hand. It gets the file's content
with Ray's defaults filled in and yields problems, each with a hint.
"""

import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Config = dict[str, Any]
Rule = Callable[[Config], Iterator[str]]
_REPOSITORY, _TOKEN = "qtable-sweeps", ".ray/auth_token"
_BOTH_SETS = ("health_check_period_ms", "health_check_failure_threshold",
              "grpc_client_keepalive_time_ms", "grpc_client_keepalive_timeout_ms")  # fmt: skip
_EXPORTS = ("RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0", "QSWEEP_STORE=")


def unfilled(text: str) -> Iterator[tuple[int, str]]:
    """What a file's author left to be filled in: its line's number, and the word."""
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition(" #")[0]
        if not content.startswith("#"):
            yield from ((number, word) for word in re.findall(r"[\w./:-]*REPLACE[\w-]*", content))


def _setup(config: Config) -> str:
    names = ("setup_commands", "head_setup_commands", "worker_setup_commands")
    return "\n".join(command for name in names for command in config.get(name) or [])


def _head_start(config: Config) -> str:
    return "\n".join(config["head_start_ray_commands"])


def _token(config: Config) -> Iterator[str]:
    mounts = {remote: local for remote, local in config["file_mounts"].items() if _TOKEN in remote}
    if not mounts:
        yield f"no token is mounted. Hint: file_mounts: {{~/{_TOKEN}: ~/{_TOKEN}}}."
    for local in (Path(local).expanduser() for local in mounts.values()):
        if not local.exists():
            yield f"{local} is missing. Hint: ray get-auth-token --generate; chmod 600 {local}"
        elif mode := stat.S_IMODE(local.stat().st_mode) & 0o077:
            yield f"{local} is open to others (mode ...{mode:02o}). Hint: chmod 600 {local}"
    if f"chmod 600 ~/{_TOKEN}" not in _setup(config):
        yield f"nodes leave the token's mode to chance. Hint: setup_commands: chmod 600 ~/{_TOKEN}"


def _exports(config: Config) -> Iterator[str]:
    for export in _EXPORTS:
        if export not in _setup(config):
            yield f"no setup command exports {export}. Hint: as in this repository's cluster.yaml."


def _starts(config: Config) -> Iterator[str]:
    start = _head_start(config)
    hosts = re.findall(r"--dashboard-host[= ]\s*(\S+)", start)
    if hosts != ["127.0.0.1"]:
        yield f"the dashboard listens on {hosts or 'a default'}. Hint: --dashboard-host=127.0.0.1."
    missing = [name for name in _BOTH_SETS if f'"{name}"' not in start]
    if missing:
        yield (
            f"a lost node is missed for minutes: the head's --system-config lacks "
            f"{', '.join(missing)}. Hint: as in this repository's cluster.yaml."
        )


def _installs(config: Config) -> Iterator[str]:
    setup = _setup(config)
    if not re.search(r"\bmake -C ~/\S+ ready\b|--require-hashes", setup):
        yield "nothing installs requirements.lock. Hint: make -C ~/qtable-sweeps ready."
    for line in setup.splitlines():
        if re.search(r"\bpip3? install\b", line) and "--require-hashes" not in line:
            yield f"packages are installed unchecked: {line.strip()!r}. Hint: --require-hashes."
    if not any(remote.endswith(_REPOSITORY) for remote in config["file_mounts"]):
        yield f"the repository is not mounted. Hint: file_mounts: {{~/{_REPOSITORY}: .}}."
    if ".gitignore" not in config.get("rsync_filter", []):
        yield "environments and results would be copied too. Hint: rsync_filter: [.gitignore]."


def _nodes(config: Config) -> Iterator[str]:
    for name, kind in config["available_node_types"].items():
        node = kind["node_config"]
        if not node.get("SecurityGroupIds"):
            yield f"{name}: Ray's own group opens port 22 to the world. Hint: SecurityGroupIds."
        if (node.get("MetadataOptions") or {}).get("HttpTokens") != "required":
            yield f"{name}: any process reads the node's keys. Hint: HttpTokens: required (IMDSv2)."
        if not re.match(r"ami-(REPLACE|[0-9a-f]{8,17}$)", str(node.get("ImageId"))):
            yield f"{name}: the image is not fixed. Hint: ImageId: ami-..."
        disks = [disk.get("Ebs") or {} for disk in node.get("BlockDeviceMappings") or []]
        wanted = {"Encrypted": True, "DeleteOnTermination": True, "VolumeType": "gp3"}
        if not disks or any(disk.get(k) != v for disk in disks for k, v in wanted.items()):
            yield f"{name}: disks must be encrypted gp3 that end with the node. Hint: {wanted}."


def _profiles(config: Config) -> Iterator[str]:
    profiles: dict[str, str | None] = {}
    for name, kind in config["available_node_types"].items():
        named = kind["node_config"].get("IamInstanceProfile") or {}
        profiles[name] = named.get("Name") or named.get("Arn")
    for name, profile in profiles.items():
        if not profile:
            yield f"{name}: Ray's own role has all rights over EC2. Hint: IamInstanceProfile."
    head = profiles.pop(config["head_node_type"])
    for name, profile in profiles.items():
        if profile and profile == head:
            yield f"{name}: workers hold the head's rights. Hint: an IamInstanceProfile of its own."


def _kinds(config: Config) -> Iterator[str]:
    workers: dict[str, Config] = dict(config["available_node_types"])
    head = workers.pop(config["head_node_type"])
    if head["resources"].get("CPU") != 0:
        yield "tasks run on the head beside the driver. Hint: resources: {CPU: 0}."
    if "InstanceMarketOptions" in head["node_config"]:
        yield "the head may be taken away. Hint: no InstanceMarketOptions: on demand."
    for name, kind in workers.items():
        market = kind["node_config"].get("InstanceMarketOptions") or {}
        if market.get("MarketType") != "spot":
            yield f"{name}: not spot. Hint: InstanceMarketOptions: {{MarketType: spot}}."
        if kind["min_workers"] != 0:
            yield f"{name}: costs while nothing runs. Hint: min_workers: 0."
    if config["provider"].get("cache_stopped_nodes", True):
        yield "stopped nodes' disks keep costing. Hint: provider: {cache_stopped_nodes: false}."
    if not 0 < config["idle_timeout_minutes"] <= 15:
        yield "idle nodes stay too long. Hint: idle_timeout_minutes: 5."


def _autoscaler(config: Config) -> Iterator[str]:
    if "RAY_enable_autoscaler_v2=0" not in _head_start(config):
        yield "only one worker would start. Hint: RAY_enable_autoscaler_v2=0 ray start --head."


EVERYWHERE: tuple[Rule, ...] = (_token, _exports, _starts, _installs)
BY_PROVIDER: dict[str, tuple[Rule, ...]] = {
    "aws": (_nodes, _profiles, _kinds),
    "local": (_autoscaler,),
}
