"""The hosts that stand in for machines: apart from each other, and gone when they should be."""

import contextlib
import subprocess
import sys
from pathlib import Path

import hosts as hosts_module
import pytest
from hosts import ROOT, Hosts

pytestmark = hosts_module.needed


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory, shared):
    with Hosts(tmp_path_factory.mktemp("hosts"), 2, shared=[shared]) as made:
        yield made


def reaches(hosts, i, other) -> bool:
    code = f"import socket; socket.create_connection(('{hosts.ip(other)}', 22), timeout=2)"
    done = hosts.run(
        i, "sh", "-c", f'{sys.executable} -c "{code}" 2>/dev/null && echo yes', check=False
    )
    return done == "yes\n"


def test_each_has_its_own_folders_and_sees_nothing_of_this_project(hosts, shared):
    hosts.run(0, "sh", "-c", f"echo 0 > /tmp/mine; echo 0 > /root/mine; echo 0 > {shared}/ours")
    for folder in ("/tmp", "/root", "/dev/shm"):
        assert "mine" not in hosts.run(1, "ls", folder)
    assert hosts.run(1, "cat", f"{shared}/ours") == "0\n"
    assert not Path("/tmp/mine").exists()
    assert hosts.run(1, "sh", "-c", f"ls {ROOT}/core 2>/dev/null", check=False) == ""
    found = hosts.run(1, sys.executable, "-c", "import numpy, sys; print(sys.prefix)")
    assert found == f"{sys.prefix}\n"
    refused = hosts.run(1, "sh", "-c", f"touch {sys.prefix}/x 2>&1", check=False)
    assert "Read-only" in refused


def test_each_has_its_own_processes_and_name(hosts):
    for i in range(2):
        assert hosts.run(i, "hostname") == f"{hosts.name(i)}\n"
        assert len(hosts.run(i, "ps", "-e", "--no-headers").splitlines()) == 2  # sshd and ps


def test_a_cable_is_pulled_and_put_back(hosts):
    assert reaches(hosts, 0, 1)
    hosts.cut(1)
    assert not reaches(hosts, 0, 1)
    hosts.heal(1)
    assert reaches(hosts, 0, 1)


def test_a_host_switched_off_takes_its_processes_along_and_starts_empty(hosts, shared):
    hosts.run(1, "sh", "-c", "setsid sleep 987654 >/dev/null 2>&1 & echo 1 > /root/mine")
    hosts.kill(1)
    assert not reaches(hosts, 0, 1)
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True
    )
    assert "sleep 987654" not in listed.stdout
    hosts.start(1)
    assert reaches(hosts, 0, 1)
    assert "mine" not in hosts.run(1, "ls", "/root")
    assert (shared / "ours").exists()


def test_nothing_is_left_after_an_error(tmp_path):
    made = Hosts(tmp_path / "hosts", 1)
    with contextlib.suppress(KeyError), made:
        pid = made._running[0].pid
        raise KeyError
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(f"/sys/class/net/{made.bridge}").exists()
