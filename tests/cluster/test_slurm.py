"""cluster.slurm.sh under Slurm itself, on two hosts of `hosts.py`."""

import os
import shutil
import sys
import time
from pathlib import Path

import hosts as hosts_module
import pytest
from clusters import replaced
from hosts import ROOT, Hosts

import results

needs = [name for name in ("slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
pytestmark = [
    hosts_module.needed,
    pytest.mark.skipif(bool(needs), reason=f"{', '.join(needs)} missing: make system"),
]
BIN = Path(sys.prefix) / "bin"
STUDY = "qtable_search.py --patterns 2-4 --qs-af 51-121/10 --benign 50 --adversarial 20"
STUDY += " --report-benign 50 --report-adversarial 20 --block 10"
CONF = """ClusterName=test
SlurmctldHost={names[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
StateSaveLocation={shared}/state
SlurmdSpoolDir=/run/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmdParameters=config_overrides
KillWait=5
NodeName={names[0]} NodeAddr={ips[0]} CPUs=1
NodeName={names[1]} NodeAddr={ips[1]} CPUs=1
PartitionName=all Nodes=ALL Default=YES State=UP
"""


class Slurm:
    """A controller and two nodes that share a disk, a home and this project on it."""

    def __init__(self, hosts: Hosts, shared: Path) -> None:
        """Start both; the home holds a token."""
        self.hosts, self.shared = hosts, shared
        self.store, self.repository = shared / "store", shared / "repository"
        left_out = shutil.ignore_patterns(".*", "out", "tests", "docs", "build")
        shutil.copytree(ROOT, self.repository, ignore=left_out)
        (self.repository / ".venv").symlink_to(sys.prefix)
        script = self.repository / "cluster.slurm.sh"
        script.write_text(replaced(script.read_text(), {"REPLACE-STORE": str(self.store)}))
        names, ips = zip(*((hosts.name(i), hosts.ip(i)) for i in range(2)), strict=True)
        (shared / "state").mkdir()
        (shared / "slurm.conf").write_text(CONF.format(names=names, ips=ips, shared=shared))
        (shared / ".ray").mkdir()
        self.run(f"{BIN}/ray get-auth-token --generate; chmod 600 {shared}/.ray/auth_token")
        for i in range(2):
            daemon = "slurmctld; " if i == 0 else ""
            self.run(f"mkdir -p /run/slurmd; {daemon}slurmd -N {hosts.name(i)}", on=i)

    def run(self, line: str, *, on: int = 0) -> str:
        """What a shell on a node says."""
        variables = (f"SLURM_CONF={self.shared}/slurm.conf", f"HOME={self.shared}", "USER=root")
        variables += (f"PYTHONPATH={self.repository}", f"PATH={os.environ['PATH']}")
        line = f"cd {self.repository}; {line} 2>&1"
        return self.hosts.run(on, "env", *variables, "sh", "-c", line, check=False)

    def logs(self) -> str:
        """What all jobs said."""
        found = sorted(self.repository.glob("qtable-sweeps-*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in found)

    def cells(self) -> set[str]:
        """Cells of the study that are stored."""
        return {path.stem for path in self.store.glob("rows/study=qtable_search/*/*.parquet")}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    shared = tmp_path_factory.mktemp("shared")
    with Hosts(tmp_path_factory.mktemp("hosts"), 2, shared=[shared]) as hosts:
        yield Slurm(hosts, shared)


def test_a_cancelled_study_goes_on_by_the_same_command_and_leaves_nothing(slurm):
    slurm.run(f"sbatch cluster.slurm.sh jobs/{STUDY}")
    end = time.monotonic() + 180
    while len(slurm.cells()) < 2:
        assert time.monotonic() < end, slurm.run("squeue; sinfo") + slurm.logs()
        time.sleep(0.2)
    slurm.run("scancel --name qtable-sweeps")
    before = {path: path.stat().st_mtime_ns for path in slurm.store.glob("rows/*/*/*.parquet")}
    said = slurm.run(f"timeout 240 sbatch --wait cluster.slurm.sh jobs/{STUDY}; echo code $?")
    assert said.endswith("code 0\n"), said + slurm.logs()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (sweep,) = {path.name for path in slurm.store.glob("rows/study=qtable_search/*")}
    rows = results.load("qtable_search", sweep=sweep.partition("=")[2], store=slurm.store)
    assert rows["table"].nunique() >= 24
    assert rows["host"].nunique() == 2
    assert slurm.run("squeue --noheader") == ""
    for i in range(2):
        assert "raylet" not in slurm.hosts.run(i, "ps", "-e")


@pytest.mark.soak
def test_the_studys_exit_code_is_the_jobs(slurm):
    said = slurm.run("timeout 240 sbatch --wait cluster.slurm.sh jobs/ablation.py --no-such-flag")
    code = slurm.run("scontrol show job | grep -o 'ExitCode=[0-9:]*' | tail -n 1")
    assert code == "ExitCode=2:0\n", said + slurm.logs()
