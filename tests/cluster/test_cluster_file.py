"""The cluster files obey every rule; each rule is seen to fail; what is not filled in is named."""

import re
import subprocess
import sys

import pytest
from clusters import replaced
from hosts import ROOT

from search.cluster.file import problems

AWS, ONPREM = (ROOT / name for name in ("cluster.yaml", "cluster.onprem.yaml"))
FILLED = {
    AWS: {
        "REPLACE-REGION": "us-west-2", "ami-REPLACE": "ami-0123456789abcdef0",
        "subnet-REPLACE": "subnet-1", "sg-REPLACE": "sg-1", "REPLACE-BUCKET": "bucket",
    },
    ONPREM: {
        "REPLACE-HEAD-IP": "10.0.0.1", "REPLACE-WORKER-IP, REPLACE-WORKER-IP": "10.0.0.2",
        "REPLACE-USER": "me", "REPLACE-STORE": "/shared/store",
    },
}  # fmt: skip
# rule -> (file, what is changed, to what, words of the complaint)
BROKEN = {
    "schema": (AWS, "max_workers: 8\nidle", "max_workers: many\nidle", "no cluster file to Ray"),
    "provider": (AWS, "type: aws", "type: gcp", "expected a cluster file"),
    "yaml": (AWS, "provider:", "provider: [", "is no YAML"),
    "token mounted": (AWS, "  ~/.ray/auth_token: ~/.ray/auth_token", "", "no token is mounted"),
    "token mode": (AWS, "  - chmod 600 ~/.ray/auth_token\n", "", "mode to chance"),
    "token mode, on premises": (ONPREM, "  - chmod 600 ~/.ray/auth_token\n", "", "mode to chance"),
    "authentication": (AWS, "RAY_AUTH_MODE=token", "", "RAY_AUTH_MODE=token"),
    "usage statistics": (AWS, "RAY_USAGE_STATS_ENABLED=0", "", "RAY_USAGE_STATS_ENABLED=0"),
    "store": (ONPREM, "QSWEEP_STORE=", "STORE=", "QSWEEP_STORE="),
    "dashboard": (AWS, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "dashboard"),
    "dashboard left out": (ONPREM, "--dashboard-host=127.0.0.1", "", "a default"),
    "health checks": (AWS, '"health_check_period_ms":1000,', "", "health_check_period_ms"),
    "keepalive": (ONPREM, '"grpc_client_keepalive_time_ms":5000,', "", "keepalive_time_ms"),
    "hashes": (AWS, "make -C ~/qtable-sweeps ready", "echo", "requirements.lock"),
    "unchecked": (AWS, "qtable-sweeps ready", "qtable-sweeps ready; pip install x", "unchecked"),
    "repository": (AWS, "  ~/qtable-sweeps: .", "  ~/other: .", "repository is not mounted"),
    "ignored files": (AWS, "rsync_filter: [.gitignore]", "rsync_filter: []", "copied too"),
    "security group": (AWS, "SecurityGroupIds: [sg-1]", "Monitoring: {}", "opens port 22"),
    "metadata": (AWS, "HttpTokens: required, ", "", "IMDSv2"),
    "image": (AWS, "ami-0123456789abcdef0", "latest", "image is not fixed"),
    "encryption": (AWS, "Encrypted: true, ", "", "encrypted gp3"),
    "disks stay": (AWS, ", DeleteOnTermination: true", "", "end with the node"),
    "disk type": (AWS, "VolumeType: gp3", "VolumeType: gp2", "gp3"),
    "head's profile": (AWS, "IamInstanceProfile: {Name: qtable-sweeps-head}", "Monitoring: {}",
                       "head: Ray's own role"),
    "workers' profile": (AWS, "qtable-sweeps-worker}", "qtable-sweeps-head}", "head's rights"),
    "tasks on head": (AWS, "resources: {CPU: 0}", "resources: {CPU: 2}", "beside the driver"),
    "head on spot": (AWS, "InstanceType: m6i.large",
                     "InstanceType: m6i.large\n      InstanceMarketOptions: {MarketType: spot}",
                     "head may be taken away"),
    "workers on demand": (AWS, "InstanceMarketOptions: {MarketType: spot}", "Monitoring: {}",
                          "gpu-a10g: not spot"),
    "from zero": (AWS, "min_workers: 0", "min_workers: 1", "gpu-a10g: costs while nothing runs"),
    "stopped nodes": (AWS, "cache_stopped_nodes: false", "cache_stopped_nodes: true", "disks keep"),
    "idle nodes": (AWS, "idle_timeout_minutes: 5", "idle_timeout_minutes: 600", "stay too long"),
    "autoscaler": (ONPREM, "RAY_enable_autoscaler_v2=0 ", "", "only one worker"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def token(tmp_path, monkeypatch):
    """A home folder with a token of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    path = tmp_path / ".ray" / "auth_token"
    path.write_text("0" * 64)
    path.chmod(0o600)
    return path


def filled(file, tmp_path, changes=None):
    path = tmp_path / file.name
    path.write_text(replaced(replaced(file.read_text(), FILLED[file]), changes or {}))
    return path


@pytest.mark.parametrize("file", FILLED, ids=lambda path: path.name)
def test_a_cluster_file_that_is_filled_in_has_no_problem(file, tmp_path):
    assert problems(filled(file, tmp_path)) == []


@pytest.mark.parametrize("file", FILLED, ids=lambda path: path.name)
def test_every_placeholder_is_named_with_its_line_and_nothing_else_is_wrong(file):
    lines = file.read_text().splitlines()
    expected = [
        n for n, line in enumerate(lines, 1) for _ in re.findall("REPLACE", line.split("#")[0])
    ]
    assert expected
    found = problems(file)
    assert [int(problem.split(":")[1]) for problem in found] == expected
    assert all("is to be filled in" in problem for problem in found)


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_is_seen_to_fail_and_no_other(rule, tmp_path):
    file, old, new, complaint = BROKEN[rule]
    found = problems(filled(file, tmp_path, {old: new}))
    assert any(re.search(complaint, problem) for problem in found), found
    # Node types share settings: one change may break one rule for several of them.
    assert len({re.sub(r"(head|gpu-\w+): ", "", problem) for problem in found}) == 1, found


def test_a_token_that_is_missing_or_open_to_others_is_refused(token, tmp_path):
    path = filled(AWS, tmp_path)
    token.chmod(0o644)
    assert "open to others" in problems(path)[0]
    token.unlink()
    assert "ray get-auth-token --generate" in problems(path)[0]


def test_the_command_line_says_what_to_mend_and_sets_the_exit_code(tmp_path):
    def check(*paths):
        return subprocess.run(
            [sys.executable, "-m", "search", "doctor", "--cluster", *map(str, paths)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    bad = check(AWS, ONPREM)
    assert bad.returncode == 2
    assert "cluster.yaml:9: REPLACE-REGION is to be filled in" in bad.stderr
    assert "REPLACE-HEAD-IP" in bad.stderr
    good = check(filled(AWS, tmp_path), filled(ONPREM, tmp_path))
    assert (good.returncode, good.stdout, good.stderr) == (0, "nothing to mend\n", "")
    assert check(tmp_path / "nowhere.yaml").returncode == 2
