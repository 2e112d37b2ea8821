"""Nodes of declared GPUs: here no machine has one, and a variable for tests says what torch sees."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from stages_for_tests import Calls, cpus_and_device

from curator.errors import InputError
from curator_pipelines.executors.fitness import Needs
from curator_pipelines.executors.ray import RayExecutor
from curator_pipelines.executors.ray_cluster import Cluster, connect
from curator_pipelines.executors.ray_demand import Demand
from curator_pipelines.executors.ray_survey import Survey, check_shared

Gpus = Callable[..., str]


@pytest.fixture(scope="module")
def gpu_nodes(ray_cluster: Any) -> Iterator[tuple[str, str]]:
    """A node whose GPU torch sees, and one whose GPU it does not see."""
    sound = ray_cluster.add_node(num_cpus=1, num_gpus=1, env_vars={"CURATOR_TEST_GPUS": "1"})
    broken = ray_cluster.add_node(num_cpus=1, num_gpus=1)
    yield sound.node_id, broken.node_id
    for node in (sound, broken):
        ray_cluster.remove_node(node)


@pytest.fixture
def cluster(ray_cluster: Any, gpu_nodes: tuple[str, str]) -> Cluster:
    return connect(ray_cluster.address)


def test_gpus_that_torch_does_not_see_are_left_out_by_name(
    cluster: Cluster, gpu_nodes: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    sound, broken = gpu_nodes
    survey = Survey(wants_hardware=True)
    survey.settle(cluster.nodes())

    executor = RayExecutor(cluster, needs=Needs("cuda", "fp32"), survey=survey)
    (outcome,) = executor.map(Calls(cpus_and_device), [None])

    assert [placement.node.id for placement in executor.placements] == [sound]
    assert outcome.unwrap()[1] == "cuda"
    assert f"({broken[:8]}) is left out: it declares 1 GPU to Ray, and torch sees 0 there" in caplog.text
    assert sound[:8] not in caplog.text
    assert len(survey.fit(cluster.nodes(), Needs("cpu", "fp32"))) == 5


def test_nodes_that_are_left_out_are_not_what_more_were_asked_for(cluster: Cluster, gpu_nodes: tuple[str, str]) -> None:
    sound, broken = gpu_nodes
    shape: dict[str, Any] = {"cpus": 1, "gpus": 1, "memory": 0}
    demand = Demand()

    def asked(times: int, **more: Any) -> int:
        """How many wait after a while."""
        for _ in range(times):
            demand.ask(1, **shape, **more)
            time.sleep(0.2)
        return len(demand)

    assert asked(30, avoids=(sound, broken)) == 1
    # The broken one alone has room, and that would be taken for what was asked for.
    end = time.monotonic() + 30
    while asked(1, avoids=(sound,)):
        assert time.monotonic() < end
    demand.withdraw()


def test_busy_nodes_answer(cluster: Cluster) -> None:
    @ray.remote(num_cpus=1)
    class Busy:
        def work(self) -> None:
            pass

    actors = [Busy.options(num_cpus=cpus).remote() for cpus in (4, 2, 1, 1, 1)]
    ray.get([actor.work.remote() for actor in actors])
    survey = Survey(wants_hardware=False, out="/tmp")
    survey.settle(cluster.nodes())
    for actor in actors:
        ray.kill(actor)

    assert not any(survey.problem(node) for node in cluster.nodes())


def test_a_path_is_asked_for_on_every_node(cluster: Cluster, tmp_path: Path) -> None:
    check_shared(str(tmp_path / "run"), cluster)
    check_shared("s3://bucket/run", cluster)
    assert not list(tmp_path.iterdir())

    with pytest.raises(InputError, match="it cannot be written"):
        check_shared("/proc/run", cluster)


def test_what_is_known_is_not_asked_again(cluster: Cluster, tmp_path: Path) -> None:
    Survey(wants_hardware=True, out=str(tmp_path)).settle(cluster.nodes())
    again = Survey(wants_hardware=True, out=str(tmp_path))

    again.update(cluster.nodes())

    assert not again.is_looking
    assert len(again.fit(cluster.nodes(), Needs("cpu", "fp32"))) == 5
    again.check_reached(cluster.nodes())
