"""What is seen of actors: as of local workers, and the numbers of a run among the metrics of the cluster."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import ray
from stages_for_tests import Calls, Deadly, survive_after_a_while, until
from watch_for_tests import Seen

from curator_pipelines.executors import RayExecutor, usage_so_far, watched_by
from curator_pipelines.executors.ray_metrics import ray_gauges

MakeRay = Callable[..., RayExecutor]


pytestmark = pytest.mark.slow


@pytest.mark.slow
def test_an_actor_that_dies_is_an_event_and_what_actors_use_is_told(make_ray: MakeRay) -> None:
    seen, before, told = Seen(), usage_so_far(), list[str]()

    with watched_by(seen):
        outcomes = make_ray(1).map(Calls(survive_after_a_while), [Deadly(1), Deadly(0)], on_progress=told.extend)
        assert sorted(outcome.unwrap() for outcome in outcomes) == [0, 1]

    ((kind, _, facts),) = seen.events
    assert (kind, facts["what"], facts["number"]) == ("worker_lost", "worker", 1)
    assert "Deadly" in facts["task"]
    assert len(seen.ends) == 2
    assert "working" in {worker.state for workers in seen.looks for worker in workers}
    assert (usage_so_far() - before)["cpu_ms"] > 0
    assert set(told) == {"samples"}


@pytest.mark.slow
def test_numbers_are_metrics_of_the_cluster(make_ray: MakeRay) -> None:
    make_ray(1)
    set_all = ray_gauges({"curator_lines": "Lines of a test."}, {"curator_lines": ("out",)})
    assert set_all is not None

    set_all({"curator_lines": [({"out": "s3://bucket/run"}, 7.0)]})

    until(lambda: any(line.endswith(" 7.0") for line in _exported("ray_curator_lines{")), "the metric of the driver")


def _exported(name: str) -> list[str]:
    lines: list[str] = []
    nodes: list[dict[str, Any]] = ray.nodes()
    for node in nodes:
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
                lines += answer.read().decode().splitlines()
        except OSError:
            continue
    found = [line for line in lines if line.startswith(name)]
    assert all('out="s3://bucket/run"' in line for line in found)
    return found
