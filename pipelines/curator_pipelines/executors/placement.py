"""How many workers each node of a cluster gets, and what each of them reserves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curator_pipelines.executors.ray_cluster import Node

__all__ = ["Placement", "plan_placement"]

# A bigger node without GPUs gets several workers: one process cannot keep more cores busy with decoding.
CPUS_PER_WORKER = 8
# What a worker reserves of a node's memory, so that Ray does not put others onto memory that it needs: torch with an
# encoder, and what may be decoded side by side. Never more than half of its share, for what Ray counts is all there is.
WORKER_MEMORY, THREAD_MEMORY = 2 << 30, 128 << 20


@dataclass(frozen=True)
class Placement:
    """The workers of one node.

    Attributes:
        node: the node.
        count: the number of workers on it.
        cpus: the CPUs that each worker reserves; below 1 where there are more workers than cores.
        gpus: the GPUs that each worker reserves.
        memory: the bytes of memory that each worker reserves.
    """

    node: Node
    count: int
    cpus: float
    gpus: float
    memory: int = 0

    @property
    def threads(self) -> int:
        """The number of threads of each worker."""
        return max(1, int(self.cpus))


def plan_placement(
    nodes: Sequence[Node], workers: int | None, gpus_per_worker: float, *, on_gpus: bool
) -> list[Placement]:
    """Return the placement on every node that has room.

    Args:
        nodes: the nodes that are alive.
        workers: how many workers in all, spread by what the nodes have; None for as many as there is room for.
        gpus_per_worker: the GPUs, or the share of one GPU, that a worker gets.
        on_gpus: whether the work is for GPUs; if not, only CPUs count.
    """
    room = {node.id: _room(node, gpus_per_worker, on_gpus) for node in nodes}
    counts = dict(room) if workers is None else _spread(nodes, workers, room, on_gpus)
    return [
        _place(node, counts[node.id], room[node.id], gpus_per_worker if on_gpus else 0.0)
        for node in nodes
        if counts[node.id]
    ]


def _room(node: Node, gpus_per_worker: float, on_gpus: bool) -> int:
    if on_gpus:
        # Shares such as 0.1 are not exact in binary.
        return int(node.gpus / gpus_per_worker + 1e-6)
    return max(1, int(node.cpus // CPUS_PER_WORKER)) if node.cpus >= 1 else 0


def _spread(nodes: Sequence[Node], workers: int, room: dict[str, int], on_gpus: bool) -> dict[str, int]:
    """Hand out workers one by one, to the node that is left with the most for each."""
    counts = dict.fromkeys(room, 0)
    for _ in range(workers):
        free = [node for node in nodes if room[node.id] > (counts[node.id] if on_gpus else 0)]
        if not free:
            break
        best = max(free, key=lambda node: (node.gpus if on_gpus else node.cpus) / (counts[node.id] + 1))
        counts[best.id] += 1
    return counts


def _place(node: Node, count: int, room: int, gpus: float) -> Placement:
    share = node.cpus / (room if gpus else count)
    # Ray reserves whole cores, or any share of one.
    cpus = float(int(share)) if share >= 1 else int(share * 1000) / 1000
    memory = min(WORKER_MEMORY + int(cpus) * THREAD_MEMORY, node.memory / max(room, count) / 2)
    return Placement(node, count, cpus, gpus, int(memory))
