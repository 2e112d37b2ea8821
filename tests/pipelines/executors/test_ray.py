"""What is Ray's alone; what it has in common with the others is in test_protocol.py and test_workers.py."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from stages_for_tests import (
    Calls,
    Deadly,
    FailsAtOpens,
    HoldsLockFile,
    cpus_and_device,
    holders,
    node_and_wait,
    survive,
    until,
)

from curator.errors import CuratorError, InputError
from curator_pipelines.executors import MAX_ATTEMPTS
from curator_pipelines.executors.ray import RayExecutor
from curator_pipelines.executors.ray_cluster import Cluster, Node, connect
from curator_pipelines.executors.ray_worker import RayWorker

MakeRay = Callable[..., RayExecutor]


class PartlyHidden(Cluster):
    """A cluster of which only some nodes are to be seen."""

    def nodes(self) -> list[Node]:
        return [node for node in super().nodes() if node.id in seen]


seen: set[str] = set()


@pytest.fixture
def added(ray_cluster: Any) -> Iterator[Callable[..., Any]]:
    """`added(cpus)`: a node more, removed at the end if the test has not done so."""
    nodes = []

    def add(cpus: int = 1) -> Any:
        nodes.append(ray_cluster.add_node(num_cpus=cpus))
        return nodes[-1]

    yield add
    for node in nodes:
        if node in ray_cluster.worker_nodes:
            ray_cluster.remove_node(node)


def test_what_the_dashboard_shows_of_a_worker() -> None:
    # In a thread, where it cannot take the signals of this process.
    with ThreadPoolExecutor(1) as thread:
        worker = thread.submit(RayWorker, "worker of s3://bucket/run").result()
    assert repr(worker) == "curator worker of s3://bucket/run"


def test_one_worker_a_node_with_its_cpus(make_ray: MakeRay) -> None:
    executor = make_ray(None)

    assert executor.workers == 3
    assert executor.describe().endswith("3 workers on 3 nodes, 1 to 4 threads each")
    assert sorted(placement.threads for placement in executor.placements) == [1, 2, 4]


def test_work_spreads_and_threads_are_those_reserved(make_ray: MakeRay, tmp_path: Path) -> None:
    # No task ends before there are three nodes that work.
    tasks = [(tmp_path, 3)] * 3

    outcomes = [outcome.unwrap() for outcome in make_ray(None).map(Calls(node_and_wait), tasks)]

    assert len({node for node, _ in outcomes}) == 3
    assert sorted(cpus for _, cpus in outcomes) == [1, 2, 4]


def test_thread_variables(make_ray: MakeRay) -> None:
    (outcome,) = make_ray(1).map(Calls(cpus_and_device), [None])

    assert outcome.unwrap() == (4, "cpu", "4")


def test_a_task_that_is_given_up_says_where_to_look(make_ray: MakeRay) -> None:
    (outcome,) = make_ray(1).map(Calls(survive), [Deadly(MAX_ATTEMPTS)])

    assert outcome.lost
    assert "the end of its process on " in str(outcome.error)
    assert "Ray's logs on that node" in str(outcome.error)


def test_a_node_that_cannot_open_the_stage_is_left_out(make_ray: MakeRay, tmp_path: Path) -> None:
    stage = FailsAtOpens(tmp_path, threads=frozenset({1}))

    assert [outcome.unwrap() for outcome in make_ray(None).map(stage, ["slow"] * 20)] == ["slow"] * 20


def test_the_same_failure_on_two_nodes_ends_the_run(make_ray: MakeRay, tmp_path: Path) -> None:
    stage = FailsAtOpens(tmp_path, threads=frozenset({1, 2}))

    with pytest.raises(CuratorError, match=r"2 workers cannot .*CUDA error"):
        list(make_ray(None).map(stage, ["slow"] * 300))


def drain(node: Any, reason: Any, message: str) -> None:
    """Say that a node will be taken away soon, as clouds do with those that they preempt."""
    client = ray._private.worker.global_worker.gcs_client
    accepted, why = client.drain_node(node.node_id, reason, message, 2**62)
    assert accepted, why


@pytest.mark.parametrize("how", ["graceful", "killed", "preempted", "drained", "SIGTERM"])
def test_a_node_that_goes_loses_nothing(
    how: str, added: Callable[..., Any], make_ray: MakeRay, ray_cluster: Any, tmp_path: Path
) -> None:
    node = added(1)
    other = next(n.id for n in make_ray(None).cluster.nodes() if n.cpus == 2)
    seen.clear()
    seen.add(node.node_id)
    executor = RayExecutor(PartlyHidden("test", ""))

    def remove() -> None:
        until(lambda: bool(list(tmp_path.glob("*.begun"))), "the task has begun on the node")
        (worker,) = holders(tmp_path)
        seen.add(other)
        if how in ("preempted", "drained"):
            drain(node, DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"), "spot")
        if how == "SIGTERM":
            os.kill(int(worker.removesuffix(".lock")), signal.SIGTERM)
        elif how != "drained":  # a drained node is there as long as its notice says
            ray_cluster.remove_node(node, allow_graceful=how == "graceful")
        until(lambda: worker not in holders(tmp_path), "the worker dies with its node")
        (tmp_path / "go").touch()

    thread = threading.Thread(target=remove)
    thread.start()
    outcomes = list(executor.map(HoldsLockFile(tmp_path), ["until go", "a", "b"]))
    thread.join()

    assert sorted((o.task.number, o.unwrap()) for o in outcomes) == [(0, "until go"), (1, "a"), (2, "b")]
    # The death of a node says nothing of the task; one that was announced is not even counted.
    assert max(o.task.attempt for o in outcomes) == 0
    assert max(o.task.node_losses for o in outcomes) == (1 if how in ("killed", "SIGTERM") else 0)


def test_a_node_that_joins_is_used(added: Callable[..., Any], make_ray: MakeRay, tmp_path: Path) -> None:
    first = next(n.id for n in make_ray(None).cluster.nodes() if n.cpus == 1)
    seen.clear()
    seen.add(first)
    executor = RayExecutor(PartlyHidden("test", ""))

    # After the first, none of these ends before two nodes work.
    nodes = set()
    for outcome in executor.map(Calls(node_and_wait), [(tmp_path, 1), *[(tmp_path, 2)] * 4]):
        if not nodes:
            seen.add(added(1).node_id)
        nodes.add(outcome.unwrap()[0])

    assert nodes == seen


def test_the_end_of_the_drivers_own_node_ends_the_run(added: Callable[..., Any], ray_cluster: Any) -> None:
    home = added()
    cluster = Cluster("some", "", home.node_id)
    assert any(node.id == home.node_id for node in cluster.nodes())

    ray_cluster.remove_node(home)

    def has_ended() -> bool:
        try:
            cluster.nodes()
        except CuratorError as error:
            return "run again to resume" in str(error)
        return False

    until(has_ended, "the word that it is gone")


def test_an_address_where_nothing_listens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(InputError, match=r"there is no Ray: .*refused"):
            connect(f"127.0.0.1:{taken.getsockname()[1]}")


def test_a_ray_that_does_not_start_here_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code = """
from curator.errors import CuratorError
from curator_pipelines.executors.ray_cluster import connect
try:
    connect("local")
except CuratorError as error:
    print(error)
"""
    environment = os.environ | {"RAY_TMPDIR": str(tmp_path / "file")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "Ray did not start on this machine" in ended.stdout and "run again" in ended.stdout


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"HOST:6379.*curator submit"):
        connect(address)
