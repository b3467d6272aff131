"""Ray's own way from a cluster file to instances, without the ssh part. Run as a program.

python bootstrap.py CLUSTER_FILE
"""

import copy
import sys

import yaml
from ray.autoscaler._private import commands
from ray.autoscaler._private.providers import _get_node_provider


def main() -> None:
    with open(sys.argv[1]) as file:  # noqa: PTH123
        config = commands._bootstrap_config(yaml.safe_load(file), no_config_cache=True)
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    for name, kind in config["available_node_types"].items():
        role = "head" if name == config["head_node_type"] else "worker"
        tags = {
            "ray-node-type": role, "ray-user-node-type": name, "ray-node-name": name,
            "ray-node-status": "uninitialized",
        }  # fmt: skip
        provider.create_node(copy.deepcopy(kind["node_config"]), tags, 1)
    print({name: kind["resources"] for name, kind in config["available_node_types"].items()})
    sys.stdout.flush()
    sys.stdin.readline()
    provider.terminate_nodes(provider.non_terminated_nodes({}))


if __name__ == "__main__":
    main()
