"""One cluster, everything at once: a head without GPUs, nodes that declare them, one drained, one killed, one late.

    python -m benchmarks.cluster_trial [--shards 10] [--images 200]

Ray with token authentication, each node a raylet of its own on this machine; target, pool and OUT in a mock S3. Two
selections are submitted to the head, SimCore by the index and csls by exact search, for two targets. While the first
embeds, a node is drained, another is killed, a third joins late, and the driver is killed once and submitted again. In
the end every file must be that of runs on this machine that nobody disturbed, and no temporaries and no uploads may be
left. Prints what `curator inspect` says on the way, with the events, the metrics of the first run, and 1 line of JSON.

No GPU takes part: nodes declare some, and the CPU does their work (CURATOR_TEST_GPUS). Needs CURATOR_TEST_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chaos import first_samples, open_uploads, upload_pool
from benchmarks.data import DATA
from benchmarks.mock_s3 import mock_s3
from benchmarks.run_files import Out

PATIENCE_SECONDS = 300.0
TARGET_SAMPLES = 100
# A GPU's batches are larger unless told otherwise.
ENCODER = (
    *("--encoder", "timm:test_efficientnet", "--weights", "random", "--precision", "fp32"),
    *("--batch-size", "32"),
)
SELECTIONS = {
    "simcore": ("--search", "ivf", "--clusters", "50", "--budget", "20%"),
    "csls": ("--selector", "csls", "--budget", "15%"),
}


class Cluster:
    """A Ray cluster on this machine: a head, and nodes that come and go.

    Attributes:
        dashboard: URL of the head's dashboard, to which jobs are submitted.
    """

    def __init__(self, folder: Path) -> None:
        from ray._private.utils import get_ray_address_file
        from ray.cluster_utils import Cluster as RayCluster

        head = {"num_cpus": 1, "include_dashboard": True, "dashboard_port": _free_port(), "temp_dir": str(folder)}
        self._ray = RayCluster(
            initialize_head=True, head_node_args=head | {"dashboard_agent_listen_port": _free_port()}
        )
        # Where a job looks its cluster up.
        Path(get_ray_address_file(str(folder))).write_text(self._ray.address)
        self.dashboard = f"http://{self._ray.head_node.webui_url}"

    def add(self) -> Any:
        """A node of one CPU that declares one GPU."""
        return self._ray.add_node(
            num_cpus=1, num_gpus=1, dashboard_agent_listen_port=_free_port(), env_vars={"CURATOR_TEST_GPUS": "1"}
        )

    def drain(self, node: Any) -> None:
        """Announce that a node will be taken away, as clouds do with those that they preempt."""
        from ray._raylet import GcsClient
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        is_accepted, why = GcsClient(address=self._ray.address).drain_node(node.node_id, reason, "spot", 2**62)
        if not is_accepted:
            sys.exit(f"the node was not drained: {why}")

    def kill(self, node: Any) -> None:
        """Take a node away without a word."""
        self._ray.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        """End all of it."""
        self._ray.shutdown()


def main() -> int:
    """Run the trial; 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10, help="of the pool")
    parser.add_argument("--images", type=int, default=200, help="of each of them")
    given = parser.parse_args()
    with _folder() as folder, mock_s3():
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        pool = upload_pool(endpoint, given.shards, given.images)
        targets = _upload_targets(endpoint)
        python = str(Path(sys.executable).parent)
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "PYTHONPATH": os.pathsep.join(str(path) for path in (Path.cwd(), *map(Path.resolve, _source_roots()))),
            "PATH": python + os.pathsep + os.environ["PATH"],
        }
        commands = {name: _select(name, targets[name], pool) for name in SELECTIONS}
        for name, words in commands.items():
            _curator(*words, "--out", f"s3://chaos/alone-{name}", "--workers", "2")
        cluster = Cluster(folder)
        try:
            numbers = folder / "curator.prom"
            words = [*commands["simcore"], "--metrics-file", str(numbers)]
            _disturbed(cluster, words, Out.at("s3://chaos/many-simcore", endpoint), given.shards)
            print(numbers.read_text(), flush=True)
            _submit(cluster, commands["csls"], "s3://chaos/many-csls").wait()
        finally:
            cluster.close()
        found = {name: _compare(name, endpoint) for name in SELECTIONS}
        found["uploads"] = open_uploads(endpoint)
    print(json.dumps(found))
    return int(any(found["uploads"]) or any(any(found[name].values()) for name in SELECTIONS))


def _disturbed(cluster: Cluster, words: list[str], out: Out, shards: int) -> None:
    """Submit a run, take its nodes away while it embeds, kill its driver, and submit it again."""
    drained, doomed = cluster.add(), cluster.add()
    first = _submit(cluster, words, out.url)
    _until(lambda: _parts(out) >= 1, "the first part is embedded")
    print(_curator("inspect", out.url), flush=True)
    cluster.drain(drained)
    _until(lambda: _parts(out) >= 3, "the third part is embedded")
    cluster.kill(doomed)
    cluster.add()
    _until(lambda: _parts(out) >= 6, "the sixth part is embedded")
    driver = _driver_of(out.url)
    print(f"parts embedded when the driver is killed: {_parts(out)} of {shards}", flush=True)
    os.kill(driver, signal.SIGKILL)
    print(f"the first submission ended with exit code {first.wait()}", flush=True)
    print(_curator("inspect", out.url), flush=True)
    print(f"the second submission ended with exit code {_submit(cluster, words, out.url).wait()}", flush=True)
    print(_curator("inspect", out.url), flush=True)


def _select(name: str, target: str, pool: tuple[str, ...]) -> list[str]:
    return ["select", *ENCODER, "--target", target, "--pool", *pool, *SELECTIONS[name], "--shard-size", "100"]


def _submit(cluster: Cluster, words: list[str], out: str) -> subprocess.Popen[bytes]:
    submitted = ("submit", "--address", cluster.dashboard, "--", *words, "--out", out)
    return subprocess.Popen([sys.executable, "-m", "curator_pipelines", *submitted])


def _curator(*words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "curator_pipelines", *words], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _parts(out: Out) -> int:
    return sum(name.startswith("pool/done/") for name in out.listed())


def _driver_of(out: str) -> int:
    """The process that a submitted command runs in, below Ray's own."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if b"select" in words and out.encode() in words and b"submit" not in words and b"-c" not in words:
            return int(path.parent.name)
    sys.exit("the driver is not to be found")


def _compare(name: str, endpoint: str) -> dict[str, list[str]]:
    """What differs between the runs, and what is left over."""
    ours, theirs = (Out.at(f"s3://chaos/{kind}-{name}", endpoint) for kind in ("many", "alone"))
    left, right = ours.content(), theirs.content()
    differing = [file for file in sorted(left.keys() | right.keys()) if left.get(file) != right.get(file)]
    return {"differing": differing, "temporaries": ours.temporaries()}


def _upload_targets(endpoint: str) -> dict[str, str]:
    """Two targets, the first samples of a shard each."""
    import fsspec

    store = fsspec.filesystem("s3", endpoint_url=endpoint)
    paths = [DATA / "target-000000.tar", DATA / "probe-test-000000.tar"]
    urls = {}
    for name, path in zip(SELECTIONS, paths, strict=True):
        urls[name] = f"s3://data/{name}-target.tar"
        store.pipe_file(urls[name], first_samples(path, TARGET_SAMPLES))
    return urls


def _until(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"waited in vain until {what}")
        time.sleep(0.2)


def _source_roots() -> list[Path]:
    return [Path(name) for name in ("pipelines", "ssl")]


@contextmanager
def _folder() -> Iterator[Path]:
    # Not a deep one: Ray's sockets have names of 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="trial-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(main())
