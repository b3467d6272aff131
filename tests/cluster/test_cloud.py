"""`cluster.yaml` for real: Ray's launcher and autoscaler against a mock AWS, a host per instance.

Long: `make faults` runs it.
"""

import json
import re
import time

import hosts as hosts_module
import pytest
from clouds import Machines, cloud
from clusters import ENVIRONMENT, INSTALL, Cluster, replaced, wait_for
from hosts import ROOT, Hosts
from searches import assert_same_rows, copy_prepared, hosts_of, n_cells, run_here, struck

pytestmark = [hosts_module.needed, pytest.mark.soak]
EXPORTS = "AWS_ENDPOINT_URL={} AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x"
ON_CPUS = ("--gpus", "0")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    with run_here(tmp_path_factory.mktemp("quiet")) as store:
        yield store()


@pytest.fixture
def hosts(tmp_path):
    with Hosts(tmp_path / "hosts", 0) as made:
        yield made


@pytest.fixture
def aws(hosts):
    with cloud(hosts.key, address=hosts.gateway, cidr=f"{hosts.subnet}.0/24") as made:
        machines = Machines(made, hosts)
        machines.start()
        yield made
        machines.stop()


@pytest.fixture
def cluster(tmp_path, aws, hosts):
    text = replaced(aws.cluster_file(hosts.key), {
        # The hosts are small, have one user, no GPU, and only private addresses.
        "ssh_user: ubuntu": "ssh_user: root",
        "cache_stopped_nodes: false": "cache_stopped_nodes: false\n  use_internal_ips: true",
        "max_workers: 8": "max_workers: 3",
        "resources: {}": "resources: {CPU: 1}",
        "python3 -c 'import ensurepip'": "true",
        INSTALL: ENVIRONMENT,
        "QSWEEP_STORE=s3://store/qtable-sweeps":
            f"QSWEEP_STORE=s3://store/rows {EXPORTS.format(aws.endpoint)}",
        "idle_timeout_minutes: 5": "idle_timeout_minutes: 0.3",
    })  # fmt: skip
    return Cluster(tmp_path / "launcher", text, aws.environment)


def workers(aws):
    return [i for i in aws.instances("pending", "running") if i["InstanceType"] != "m6i.large"]


def allowed(policy: str) -> set[str]:
    """The actions that a policy of docs/cluster.md allows."""
    text = (ROOT / "docs/cluster.md").read_text()
    found = re.search(rf"^`{policy}`.*?```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    document = json.loads(found[1])
    actions = [statement["Action"] for statement in document["Statement"]]
    return {a for some in actions for a in (some if isinstance(some, list) else [some])}


def test_from_zero_through_a_spot_interruption_to_zero(cluster, aws, hosts, quiet, monkeypatch):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    start = time.monotonic()
    cluster.up()
    print(f"ray up {time.monotonic() - start:.1f} s")
    (head,) = aws.instances("pending", "running")
    store = "s3://store/rows"
    copy_prepared(quiet, store)

    def interrupt():
        taken = workers(aws)[0]["InstanceId"]
        aws.client("ec2").terminate_instances(InstanceIds=[taken])

    print("spot interruption:", struck(cluster, store, interrupt, more=ON_CPUS))
    assert_same_rows(store, quiet)
    assert hosts.name(hosts.number(head["PrivateIpAddress"])) not in hosts_of(store)
    assert len(hosts_of(store)) >= 2
    assert len(aws.instances()) >= 3  # the head and at least two workers, one of them taken away

    idle_s = wait_for(lambda: not workers(aws), "idle workers are not ended")
    print(f"no workers {idle_s:.1f} s after the search")
    head_calls = aws.calls(head["PrivateIpAddress"])
    assert "ec2:RunInstances" in head_calls
    assert head_calls <= allowed("head.json"), head_calls - allowed("head.json")

    start = time.monotonic()
    cluster.down()
    print(f"ray down {time.monotonic() - start:.1f} s")
    assert aws.instances("pending", "running", "stopping", "stopped") == []
    wait_for(lambda: not hosts.running(), "hosts are left")
    assert n_cells(store) > 0  # the rows outlive the cluster
