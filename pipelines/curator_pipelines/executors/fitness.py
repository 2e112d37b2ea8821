"""Which nodes of a cluster can do a run's work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curator.encoders import Hardware
from curator.errors import counted

if TYPE_CHECKING:
    from curator_pipelines.executors.ray_cluster import Node

__all__ = ["Needs", "cluster_in_words", "unfit"]


@dataclass(frozen=True)
class Needs:
    """What a worker needs of its node.

    Attributes:
        device: `cpu` or `cuda`.
        precision: `fp32` or `bf16`; empty where nothing is encoded, and so any hardware will do.
        gpus: the GPUs, or the share of one, that a worker on GPUs gets.
    """

    device: str = "cpu"
    precision: str = ""
    gpus: float = 1.0

    @property
    def on_gpus(self) -> bool:
        """Whether the work is for GPUs."""
        return self.device == "cuda"

    def text(self) -> str:
        """For people, such as `0.5 GPU`."""
        return f"{self.gpus:g} GPU" if self.on_gpus else "CPUs"


def cluster_in_words(nodes: Sequence[Node]) -> str:
    """What a cluster has, for people."""
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return f"the cluster has {counted(len(nodes), 'node')} with {cpus:g} CPUs and {gpus:g} GPUs"


def unfit(node: Node, hardware: Hardware | None, needs: Needs) -> str:
    """Why a node is left out; empty if it is not.

    A node without GPUs is simply none for work on GPUs, and not left out.

    Args:
        node: the node.
        hardware: what torch sees there; None where that is not known: then its workers will say what is wrong.
        needs: what a worker needs.
    """
    if hardware is None or not needs.precision or (needs.on_gpus and not node.gpus):
        return ""
    if needs.on_gpus and hardware.gpus < node.gpus:
        return f"it declares {counted(int(node.gpus), 'GPU')} to Ray, and torch sees {hardware.gpus} there"
    if needs.precision == "bf16" and needs.device not in hardware.bf16:
        return f"{hardware.name(needs.device)} there does not calculate in bf16"
    return ""
