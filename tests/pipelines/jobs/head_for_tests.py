"""A Ray head with its dashboard and one other node, in a process of its own, until its standard input ends.

Line by line it is told to `add` a node of one CPU, or to `remove` the first, and answers each with a line.
"""

import socket
import sys
from pathlib import Path

from ray._private.utils import get_ray_address_file
from ray.cluster_utils import Cluster


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def main() -> None:
    # Another cluster on this machine has the agent's usual port, without which there are no jobs.
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": free_port(), "temp_dir": sys.argv[1]}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"dashboard_agent_listen_port": free_port()})
    nodes = [cluster.add_node(num_cpus=1, dashboard_agent_listen_port=free_port())]
    # Where a job's supervisor looks its cluster up; without it, it takes any whose processes run on this machine.
    Path(get_ray_address_file(sys.argv[1])).write_text(cluster.address)
    print(f"http://{cluster.head_node.webui_url}", flush=True)
    for line in sys.stdin:
        if line.strip() == "add":
            nodes.append(cluster.add_node(num_cpus=1, dashboard_agent_listen_port=free_port()))
        else:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
