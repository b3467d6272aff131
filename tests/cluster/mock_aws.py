"""An AWS of one's own: moto's server with what `cluster.yaml` expects; prints where, as JSON.

    python mock_aws.py ADDRESS CIDR KEY.pub CALLS

CALLS: a file that gets a line for each request, the caller and the action.

Ends when its standard input does.
"""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import flask
from moto.core.responses import BaseResponse
from moto.ec2.responses.instances import InstanceResponse
from moto.server import ThreadedMotoServer

_get = InstanceResponse._get_param


def _get_param(self, name, *rest, **named):
    # moto launches MinCount instances. EC2, and Ray that asks for 1 to n, mean MaxCount.
    return _get(self, "MaxCount" if name == "MinCount" else name, *rest, **named)


def _noted(call_action: Callable, file: Path) -> Callable:
    """`call_action`, which also notes who asked for what."""

    def noted(self):
        with file.open("a") as calls:
            caller = flask.request.remote_addr
            calls.write(f"{caller} {self.service_name}:{self._get_action()}\n")
        return call_action(self)

    return noted


def main() -> None:
    address, cidr, key, calls = sys.argv[1:]
    BaseResponse.call_action = _noted(BaseResponse.call_action, Path(calls))
    InstanceResponse._get_param = _get_param
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(address, 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())

    def client(service: str):
        return boto3.client(
            service, "us-west-2", endpoint_url=endpoint, aws_access_key_id="x",
            aws_secret_access_key="x",
        )  # fmt: skip

    ec2, iam = client("ec2"), client("iam")
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone="us-west-2a")
    ec2.modify_subnet_attribute(
        SubnetId=subnet["Subnet"]["SubnetId"], MapPublicIpOnLaunch={"Value": True}
    )  # fmt: skip
    group = ec2.create_security_group(GroupName="own", Description="own", VpcId=vpc)
    for name in ("qtable-sweeps-head", "qtable-sweeps-worker"):
        iam.create_instance_profile(InstanceProfileName=name)
    ec2.import_key_pair(KeyName="qtable-sweeps", PublicKeyMaterial=Path(key).read_bytes())
    client("s3").create_bucket(
        Bucket="store", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    found = {
        "endpoint": endpoint, "subnet": subnet["Subnet"]["SubnetId"], "group": group["GroupId"],
        "image": ec2.describe_images()["Images"][0]["ImageId"],
    }  # fmt: skip
    print(json.dumps(found), flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
