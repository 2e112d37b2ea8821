import re

import pytest

from curator.encoders.hardware import Hardware
from curator_pipelines.executors.fitness import Needs, unfit
from curator_pipelines.executors.ray_cluster import Node

NEW = Hardware(1, "new", frozenset({"cpu", "cuda"}))
OLD = Hardware(1, "old", frozenset())
NONE = Hardware(0, "", frozenset({"cpu"}))


@pytest.mark.parametrize(
    ("gpus", "hardware", "needs", "reason"),
    [
        (1, NEW, Needs("cuda", "bf16"), ""),
        (1, OLD, Needs("cuda", "fp32"), ""),
        (1, OLD, Needs("cuda", "bf16"), r"cuda \(old\) there does not calculate in bf16"),
        (2, NEW, Needs("cuda", "fp32"), "it declares 2 GPUs to Ray, and torch sees 1 there"),
        (1, NONE, Needs("cuda", "fp32"), "it declares 1 GPU to Ray, and torch sees 0 there"),
        (1, NONE, Needs("cpu", "bf16"), ""),
        (0, NONE, Needs("cuda", "bf16"), ""),  # a head without GPUs is none of the nodes that were meant
        (0, OLD, Needs("cpu", "bf16"), "the CPU there does not calculate in bf16"),
        (0, OLD, Needs("cpu"), ""),
        (1, None, Needs("cuda", "bf16"), ""),
    ],
)
def test_why_a_node_is_left_out(gpus: int, hardware: Hardware | None, needs: Needs, reason: str) -> None:
    why = unfit(Node("id", "machine", 8, gpus), hardware, needs)

    assert bool(why) == bool(reason)
    if reason:
        assert re.search(reason, why)
