import pytest

from curator_pipelines.executors.placement import CPUS_PER_WORKER, plan_placement
from curator_pipelines.executors.ray_cluster import Node


def node(name: str, cpus: float, gpus: float = 0) -> Node:
    return Node(name, f"machine-{name}", cpus, gpus)


def plan(
    *nodes: Node, workers: int | None = None, gpus: float = 1.0, on_gpus: bool = False
) -> list[tuple[object, ...]]:
    placements = plan_placement(nodes, workers, gpus, on_gpus=on_gpus)
    return [
        (placement.node.id, placement.count, placement.cpus, placement.gpus, placement.threads)
        for placement in placements
    ]


def test_without_gpus_a_worker_takes_a_whole_node() -> None:
    assert plan(node("a", 4), node("b", 1)) == [("a", 1, 4, 0, 4), ("b", 1, 1, 0, 1)]


def test_a_big_node_gets_several() -> None:
    assert plan(node("a", 2 * CPUS_PER_WORKER + 3)) == [("a", 2, CPUS_PER_WORKER + 1, 0, CPUS_PER_WORKER + 1)]


def test_a_node_without_cpus_gets_none() -> None:
    assert plan(node("head", 0), node("a", 2)) == [("a", 1, 2, 0, 2)]
    assert plan(node("head", 0)) == []


def test_one_worker_a_gpu_with_its_share_of_the_cpus() -> None:
    assert plan(node("a", 16, 4), node("b", 3, 2), node("c", 64), on_gpus=True) == [
        ("a", 4, 4, 1, 4),
        ("b", 2, 1, 1, 1),
    ]


def test_shares_of_a_gpu() -> None:
    assert plan(node("a", 20, 1), gpus=0.1, on_gpus=True) == [("a", 10, 2, 0.1, 2)]
    assert plan(node("a", 4, 3), gpus=2, on_gpus=True) == [("a", 1, 4, 2, 4)]


def test_so_many_workers_as_asked_for_by_what_the_nodes_have() -> None:
    assert plan(node("a", 4), node("b", 2), node("c", 1), workers=3) == [("a", 2, 2, 0, 2), ("b", 1, 2, 0, 2)]
    assert plan(node("a", 4), node("b", 2), workers=1) == [("a", 1, 4, 0, 4)]


def test_more_workers_than_cpus_share_them() -> None:
    assert plan(node("a", 2), workers=3) == [("a", 3, 0.666, 0, 1)]


def test_no_more_workers_than_gpus() -> None:
    assert plan(node("a", 8, 2), workers=5, on_gpus=True) == [("a", 2, 4, 1, 4)]


@pytest.mark.parametrize("workers", [1, 2, 5, 17])
def test_a_node_never_promises_more_than_it_has(workers: int) -> None:
    nodes = {"a": 7.0, "b": 3.0, "c": 1.0}
    for name, count, cpus, *_ in plan(*(node(name, cpus) for name, cpus in nodes.items()), workers=workers):
        assert isinstance(count, int)
        assert isinstance(cpus, float)
        assert count * cpus <= nodes[str(name)]
