"""An AWS of one's own, seen from a test: `cluster.yaml` filled in for it, its instances."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from clusters import replaced
from hosts import ROOT, Hosts


@dataclass(frozen=True)
class Cloud:
    """What the mock AWS has made."""

    endpoint: str
    subnet: str
    group: str
    image: str
    calls_file: Path

    def calls(self, caller: str) -> set[str]:
        """What somebody asked of it so far, such as "ec2:RunInstances"; not requests to S3."""
        lines = [line.split() for line in self.calls_file.read_text().splitlines()]
        return {action for who, action in lines if who == caller}

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to take it for AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-west-2",
        }  # fmt: skip

    def client(self, service: str) -> Any:
        """A client that is not told by this process's environment."""
        return boto3.client(
            service, "us-west-2", endpoint_url=self.endpoint, aws_access_key_id="x",
            aws_secret_access_key="x",
        )  # fmt: skip

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """The instances in these states, as EC2 describes them; all where none is named."""
        found = self.client("ec2").describe_instances()["Reservations"]
        instances = [instance for group in found for instance in group["Instances"]]
        return [i for i in instances if not states or i["State"]["Name"] in states]

    def cluster_file(self, key: Path) -> str:
        """`cluster.yaml`, filled in."""
        return replaced((ROOT / "cluster.yaml").read_text(), {
            "REPLACE-REGION": "us-west-2",
            "ami-REPLACE": self.image,
            "subnet-REPLACE": self.subnet,
            "sg-REPLACE": self.group,
            "REPLACE-BUCKET": "store",
            "~/.ssh/qtable-sweeps.pem": str(key),
        })  # fmt: skip


@contextlib.contextmanager
def cloud(key: Path, *, address: str = "127.0.0.1", cidr: str = "10.0.0.0/24") -> Iterator[Cloud]:
    """A mock AWS that listens on an address and gives its instances others of a subnet."""
    calls = key.parent / "aws-calls"
    script = Path(__file__).with_name("mock_aws.py")
    with subprocess.Popen(
        [sys.executable, str(script), address, cidr, f"{key}.pub", str(calls)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield Cloud(**json.loads(process.stdout.readline()), calls_file=calls)
        finally:
            process.stdin.close()
            process.wait(timeout=30)


class Machines(threading.Thread):
    """Keeps a host switched on behind every running instance, from start() to stop()."""

    def __init__(self, aws: Cloud, hosts: Hosts) -> None:
        """The hosts' network must be the cloud's subnet."""
        super().__init__(daemon=True)
        self._aws, self._hosts, self._over = aws, hosts, threading.Event()

    def run(self) -> None:
        """Compare and act until stop()."""
        while not self._over.wait(0.3):
            alive = self._aws.instances("pending", "running")
            wanted = {self._hosts.number(instance["PrivateIpAddress"]) for instance in alive}
            for i in set(self._hosts.running()) - wanted:
                self._hosts.kill(i)
            for i in wanted - set(self._hosts.running()):
                self._hosts.start(i)

    def stop(self) -> None:
        """End; the hosts stay as they are. pytest reports what went wrong meanwhile."""
        self._over.set()
        self.join()
