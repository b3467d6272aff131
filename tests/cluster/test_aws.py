"""`cluster.yaml` through Ray's own AWS code, against a mock AWS on loopback."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from clouds import cloud


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """What Ray makes of the file: one node of each type, which it then ends."""
    folder = tmp_path_factory.mktemp("aws")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with cloud(key) as aws:
        file = folder / "cluster.yaml"
        file.write_text(aws.cluster_file(key))
        with subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("bootstrap.py")), str(file)],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
            | aws.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            line = next((line for line in process.stdout if line.startswith("{")), "")
            instances, volumes = aws.instances(), aws.client("ec2").describe_volumes()["Volumes"]
            _, said = process.communicate("\n", timeout=60)
        assert process.returncode == 0, said
        yield SimpleNamespace(
            aws=aws, resources=ast.literal_eval(line), instances=instances, volumes=volumes,
            ended=aws.instances(),
        )  # fmt: skip


def test_nodes_are_what_the_file_says(launched):
    found = {instance["InstanceType"]: instance for instance in launched.instances}
    assert set(found) == {"m6i.large", "g5.xlarge", "g6.xlarge"}
    for kind, instance in found.items():
        head = kind == "m6i.large"
        assert instance["State"]["Name"] in ("pending", "running")
        assert instance.get("InstanceLifecycle", "on-demand") == ("on-demand" if head else "spot")
        assert [group["GroupId"] for group in instance["SecurityGroups"]] == [launched.aws.group]
        profile = instance["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        assert profile == f"qtable-sweeps-{'head' if head else 'worker'}"
        assert instance["SubnetId"] == launched.aws.subnet
        assert instance["ImageId"] == launched.aws.image
        assert instance["KeyName"] == "qtable-sweeps"
        assert instance["MetadataOptions"]["HttpTokens"] == "required"


def test_disks_are_encrypted_and_end_with_their_node(launched):
    volumes = {volume["VolumeId"]: volume for volume in launched.volumes}
    for instance in launched.instances:
        (disk,) = (mapping["Ebs"] for mapping in instance["BlockDeviceMappings"])
        assert disk["DeleteOnTermination"]
        volume = volumes[disk["VolumeId"]]
        assert (volume["Encrypted"], volume["VolumeType"]) == (True, "gp3")


def test_workers_offer_the_gpus_of_their_type_and_the_head_no_cpu(launched):
    assert launched.resources["head"]["CPU"] == 0
    for kind in ("gpu-a10g", "gpu-l4"):
        found = launched.resources[kind]
        assert (found["CPU"], found["GPU"]) == (4, 1)


def test_ray_makes_no_role_group_or_key_of_its_own(launched):
    assert launched.aws.client("iam").list_roles()["Roles"] == []
    ec2 = launched.aws.client("ec2")
    groups = {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]}
    assert groups == {"default", "own"}
    assert [key["KeyName"] for key in ec2.describe_key_pairs()["KeyPairs"]] == ["qtable-sweeps"]


def test_nodes_are_ended_and_not_kept_stopped(launched):
    assert len(launched.ended) == len(launched.instances)
    states = {instance["State"]["Name"] for instance in launched.ended}
    assert states <= {"shutting-down", "terminated"}
