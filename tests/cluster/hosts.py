"""Hosts on one machine: each a set of namespaces with an ssh server, all on a bridge of their own.

A host has its own network, processes, mounts, name and shared memory, and private, empty /root,
/tmp, /run and /dev/shm. It sees the Python environment (read-only) and the folders that are
shared with it, and of this project only what is copied to it.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

ROOT = Path(__file__).resolve().parents[2]
_FIRST_HOST = 10  # last number of host 0's address
_NEEDED = ("unshare", "nsenter", "setpriv", "ip", "rsync", "ssh", "ssh-keygen", "/usr/sbin/sshd")


def why_not() -> str:
    """Why hosts cannot be made here; empty where they can."""
    if os.geteuid() != 0:
        return "namespaces with networks need root"
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: make system"
    tried = subprocess.run(
        ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if tried.returncode == 0 else f"the kernel forbids namespaces: {tried.stderr.strip()}"


needed = pytest.mark.skipif(bool(why_not()), reason=why_not())


def _hidden() -> list[Path]:
    """The project itself, so that nothing is imported but what is copied to a host."""
    checkouts = [ROOT]
    if sys.prefix != sys.base_prefix:  # the checkout that the environment lies in
        checkouts.append(Path(sys.prefix).parent)
    return [folder for folder in checkouts if folder != Path("/")]


def _shown() -> list[Path]:
    """The environment and the interpreter that it stands on, unless they are the system's."""
    places = {Path(sys.prefix), Path(sys.base_prefix)}
    return sorted(place for place in places if place not in {Path("/usr"), Path("/usr/local")})


class Hosts:
    """A bridge and the hosts on it; ends them all on leaving the `with` block."""

    def __init__(self, folder: Path, n: int, *, shared: Sequence[Path] = ()) -> None:
        """`n` hosts to start with; all see the `shared` folders, writable, under their paths."""
        self.folder, self.shared = folder, list(shared)
        self._first = range(n)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_bridge()
        try:
            self._make_keys()
            for i in self._first:
                self.start(i)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for i in list(self._running):
            self.kill(i)
        _run("ip", "link", "delete", self.bridge)

    def _make_bridge(self) -> None:
        # 198.18.0.0/15 is set aside for tests of networks (RFC 2544). A bridge's name is its
        # subnet, so two test runs never share one.
        for number in random.sample(range(512), 512):
            self.bridge, self.subnet = f"qs{number}", f"198.{18 + number // 256}.{number % 256}"
            made = subprocess.run(
                ["ip", "link", "add", self.bridge, "type", "bridge"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if made.returncode == 0:
                break
            assert "exists" in made.stderr, made.stderr
        _run("ip", "address", "add", f"{self.gateway}/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")

    def _make_keys(self) -> None:
        for name in ("key", "hostkey"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        # Look-ups must fail at once: a dead resolver costs Ray 10 s each.
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        names = [f"{self.subnet}.{i} {self.name(i - _FIRST_HOST)}" for i in range(2, 255)]
        (self.folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")

    @property
    def gateway(self) -> str:
        """This machine's address on the bridge."""
        return f"{self.subnet}.1"

    @property
    def key(self) -> Path:
        """The private key that opens every host for root."""
        return self.folder / "key"

    def ip(self, i: int) -> str:
        """A host's address."""
        return f"{self.subnet}.{_FIRST_HOST + i}"

    def number(self, ip: str) -> int:
        """The host with an address."""
        assert ip.startswith(f"{self.subnet}."), ip
        return int(ip.rpartition(".")[2]) - _FIRST_HOST

    def name(self, i: int) -> str:
        """A host's name, as in rows."""
        return f"host{_FIRST_HOST + i}"

    def home(self, i: int) -> Path:
        """A host's /root, seen from here."""
        return self.folder / f"host{i}" / "root"

    def running(self) -> list[int]:
        """The hosts that are on."""
        return sorted(self._running)

    def start(self, i: int, *, keep_disk: bool = False) -> None:
        """Switch a host on, with an empty disk or as a power cut left it (/tmp and /run empty)."""
        assert i not in self._running, f"host {i} runs"
        home, ready = self.home(i), self.home(i).parent / "ready"
        if keep_disk:
            ready.unlink()
        else:
            shutil.rmtree(home.parent, ignore_errors=True)
            (home / ".ssh").mkdir(parents=True, mode=0o700)
            shutil.copy(self.folder / "key.pub", home / ".ssh" / "authorized_keys")
            (home / ".bash_profile").write_text(". ~/.bashrc\n")
            (home / ".bashrc").touch()
        folders = {
            "HIDE": ["/tmp", "/run", "/dev/shm", *_hidden()],
            "SHOW": _shown(),
            "SHARE": self.shared,
        }
        with (home.parent / "log").open("wb") as log:
            self._running[i] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL",  # hosts do not outlive a killed test run
                 "unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork",
                 "--kill-child", "--mount-proc", str(Path(__file__).parent / "host.sh"),
                 str(home), f"{self.ip(i)}/24", self.gateway, str(self.folder), self.name(i)],
                env={"PATH": os.environ["PATH"]}
                | {name: "\n".join(map(str, paths)) for name, paths in folders.items()},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._connect(i)
        self._wait(i, lambda: ready.exists() and ready.read_text() and self._answers(i))

    def _connect(self, i: int) -> None:
        pid, link = self._running[i].pid, f"{self.bridge}-{i}"
        mine = Path("/proc/self/ns/net").readlink()
        self._wait(i, lambda: Path(f"/proc/{pid}/ns/net").readlink() != mine)
        # The same hardware address after a restart, else the others look for the old one a while.
        address = "02:" + ":".join(f"{int(n):02x}" for n in [0, *self.ip(i).split(".")])
        _run(
            "ip", "link", "add", link, "type", "veth",
            "peer", "name", "eth0", "address", address, "netns", str(pid),
        )  # fmt: skip
        _run("ip", "link", "set", link, "master", self.bridge, "up")

    def _answers(self, i: int) -> bool:
        try:
            socket.create_connection((self.ip(i), 22), timeout=1).close()
        except OSError:
            return False
        return True

    def _wait(self, i: int, true) -> None:
        end = time.monotonic() + 60
        while not true():
            assert self._running[i].poll() is None, (self.home(i).parent / "log").read_text()
            assert time.monotonic() < end, f"host {i} does not come up"
            time.sleep(0.02)

    def kill(self, i: int) -> None:
        """Switch a host off at once; returns when no process of it is left."""
        process = self._running.pop(i)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
            # Its first process: the kernel ends all others with it, and unshare sees the end.
            os.kill(_first_process(process.pid), signal.SIGKILL)
        process.wait()
        # The kernel takes the cable away some time after; its name is needed at once.
        subprocess.run(
            ["ip", "link", "delete", f"{self.bridge}-{i}"], stderr=subprocess.DEVNULL, check=False
        )

    def cut(self, i: int) -> None:
        """Pull the network cable."""
        _run("ip", "link", "set", f"{self.bridge}-{i}", "down")

    def heal(self, i: int) -> None:
        """Put the network cable back."""
        _run("ip", "link", "set", f"{self.bridge}-{i}", "up")

    def run(self, i: int, *command: str, check: bool = True) -> str:
        """What a command prints, run on a host as root without its login shell."""
        done = subprocess.run(
            ["nsenter", "-t", str(_first_process(self._running[i].pid)), "-a", "--", *command],
            capture_output=True, text=True, check=check,
        )  # fmt: skip
        return done.stdout


def _first_process(unshare: int) -> int:
    return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
