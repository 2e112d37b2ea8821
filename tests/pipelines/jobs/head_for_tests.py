"""A Ray head with its dashboard, in a process of its own, until its standard input ends."""

import socket
import sys

import ray


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=True,
        dashboard_port=port,
        log_to_driver=False,
        logging_level="CRITICAL",
        _temp_dir=sys.argv[1],
    )
    print(f"http://{context.dashboard_url}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
