"""The launcher's commands on hosts of `hosts.py`, with the cluster files that users have."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hosts import ROOT, Hosts

BIN = Path(sys.prefix) / "bin"
# What must differ from a machine of one's own: three hosts share two cores and little memory, and
# the environment is there already.
SMALL = "--num-cpus=1 --object-store-memory=100000000"
INSTALL = "make -C ~/qtable-sweeps ready"
ENVIRONMENT = f"ln -sfn {sys.prefix} ~/qtable-sweeps/.venv"


def replaced(text: str, changes: dict[str, str]) -> str:
    """The text with every change made; each must have something to change."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


def onprem(hosts: Hosts, n: int, store: str) -> str:
    """`cluster.onprem.yaml`, filled in for the first `n` hosts.

    `store` may be followed by more variables to export, "s3://b/f NAME=VALUE".
    """
    text = (ROOT / "cluster.onprem.yaml").read_text()
    workers = ", ".join(hosts.ip(i) for i in range(1, n))
    return replaced(text, {
        "REPLACE-HEAD-IP": hosts.ip(0),
        "REPLACE-WORKER-IP, REPLACE-WORKER-IP": workers,
        "REPLACE-USER": "root",
        "REPLACE-STORE": store,
        "~/.ssh/id_ed25519": str(hosts.key),
        INSTALL: ENVIRONMENT,
        "cluster_name: qtable-sweeps": f"cluster_name: {hosts.bridge}",
        "ray start --head --port=6379": f"ray start --head --port=6379 {SMALL}",
        "ray start --address=$RAY_HEAD_IP:6379": f"ray start --address=$RAY_HEAD_IP:6379 {SMALL}",
    })  # fmt: skip


class Cluster:
    """A cluster file and the launcher's commands on it, with a home and a token of its own."""

    def __init__(self, folder: Path, text: str, environment: dict[str, str] | None = None) -> None:
        """Write the cluster file and a token that nobody else has."""
        self.folder, self.file = folder, folder / "cluster.yaml"
        self.home = folder / "home"
        (self.home / ".ray").mkdir(parents=True)
        self.file.write_text(text)
        # No RAY_ variables of the caller: what is tested is the file.
        self.environment = {
            "HOME": str(self.home), "PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "dumb",
            "RAY_TMPDIR": str(folder), "TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0",
        } | (environment or {})  # fmt: skip
        self.ray("get-auth-token", "--generate")
        self.token_file.chmod(0o600)

    @property
    def token_file(self) -> Path:
        """Where the launcher finds the token."""
        return self.home / ".ray" / "auth_token"

    def popen(self, said: IO[str] | int, *words: str) -> "subprocess.Popen[str]":
        """Start `ray WORDS` in the repository, as a user would; `said` gets what it says."""
        return subprocess.Popen(
            [str(BIN / "ray"), *words], cwd=ROOT, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def ray(self, *words: str, timeout_s: float = 300, code: int | None = 0) -> str:
        """What `ray WORDS` says; its exit code must be `code` (None: any)."""
        with self.popen(subprocess.PIPE, *words) as process:
            said, _ = process.communicate(timeout=timeout_s)
        assert code is None or process.returncode == code, said
        return said

    def up(self) -> str:
        """`ray up`."""
        return self.ray("up", "-y", str(self.file))

    def submit(self, *arguments: str, script: str = "jobs/qtable_search.py", **how: object) -> str:
        """`ray submit` of the search."""
        return self.ray("submit", str(self.file), script, *arguments, **how)

    def send(self, *arguments: str, script: str) -> str:
        """`python -m search submit`, which quotes what the launcher does not."""
        words = ["-m", "search", "submit", str(self.file), script, "--", *arguments]
        done = subprocess.run(
            [str(BIN / "python"), *words], cwd=ROOT, env=self.environment, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip
        return done.stdout

    def down(self) -> str:
        """`ray down`."""
        return self.ray("down", "-y", str(self.file))


def wait_for(what: Callable[[], object], why: str, timeout_s: float = 180) -> float:
    """Seconds until `what()` is true."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < timeout_s, f"after {timeout_s} s: {why}"
        time.sleep(0.2)
    return time.monotonic() - start


def processes(hosts: Hosts, i: int) -> list[str]:
    """The command lines on a host, without the ssh server's."""
    lines = hosts.run(i, "ps", "-ww", "-eo", "args", "--no-headers").splitlines()
    return [line for line in lines if not re.match(r"ps -ww|sshd|\[.*\]$", line)]


def has_ray(hosts: Hosts, i: int) -> bool:
    """Whether a node of Ray runs on a host."""
    return any("/raylet/raylet " in line for line in processes(hosts, i))


def ray_processes(hosts: Hosts) -> list[str]:
    """Whatever of Ray or Python runs on any host."""
    lines = [line for i in hosts.running() for line in processes(hosts, i)]
    return [line for line in lines if "ray" in line or "python" in line]


def what_happened(hosts: Hosts) -> str:
    """The ends of the logs that tell why a host has no Ray, and its processes."""
    said = []
    for i in hosts.running():
        logs = "tail -n 60 ~/ray-worker.log /tmp/ray/session_latest/logs/monitor.* 2>&1"
        said += [
            f"--- {hosts.name(i)}",
            *processes(hosts, i),
            hosts.run(i, "bash", "-c", logs, check=False),
        ]
    return "\n".join(said)


def brought_up(folder: Path, hosts: Hosts, store: str) -> Cluster:
    """A cluster on all hosts, running; `store` as for `onprem`."""
    n = len(hosts.running())
    cluster = Cluster(folder, onprem(hosts, n, store))
    start = time.monotonic()
    cluster.up()
    up_s = time.monotonic() - start
    try:
        joined_s = wait_for(
            lambda: all(has_ray(hosts, i) for i in range(n)), "not all hosts joined"
        )
    except AssertionError as error:
        error.add_note(what_happened(hosts))
        raise
    print(f"ray up {up_s:.1f} s, all {n} hosts joined {joined_s:.1f} s later")
    return cluster
