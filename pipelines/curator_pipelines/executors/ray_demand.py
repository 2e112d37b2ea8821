"""What a run asks a cluster's autoscaler for: actors that wait for a node.

An autoscaler starts nodes for actors that no node has room for. Workers are pinned to nodes that are there, so they
never wait for one that is not; these do, and end as soon as they have one. With the driver they are gone, unlike
what `request_resources` asks for.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import ray

__all__ = ["Demand"]

# So many wait at most at a time: a node takes several workers, and more are asked for as they come.
MOST = 32
# After one has had a node, no more are asked for so long: the node is looked at, and gets its workers.
SETTLE_SECONDS = 15.0


class _Request:
    """Holds what a worker would need for the moment that its node is new."""

    def node(self) -> str:
        """The id of the node."""
        return str(ray.get_runtime_context().get_node_id())

    def __repr__(self) -> str:
        return "curator asks for a node"


class Demand:
    """Actors that wait for nodes, no more of them than were asked for."""

    def __init__(self) -> None:
        self._requests: dict[Any, Any] = {}
        self._shape: dict[str, Any] = {}
        self._settled = 0.0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._requests)

    def ask(self, count: int, *, cpus: float, gpus: float, memory: int, avoids: Collection[str] = ()) -> None:
        """Let so many wait from now on.

        Args:
            count: how many workers could work beside those that there are.
            cpus: that each reserves.
            gpus: that each reserves.
            memory: bytes that each reserves; 0 where that is not known.
            avoids: ids of nodes that would have room, and are of no use.
        """
        self._end_those_with_a_node()
        shape: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus} | ({"memory": memory} if memory else {})
        if avoids:
            shape["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoids))})"}
        if shape != self._shape:
            self._end(list(self._requests))
            self._shape = shape
        count = min(count, MOST)
        self._end(list(self._requests)[count:])
        if time.monotonic() < self._settled:
            return
        for _ in range(count - len(self._requests)):
            request_class: Any = ray.remote(**shape)(_Request)
            request = request_class.remote()
            self._requests[request.node.remote()] = request

    def withdraw(self) -> None:
        """Ask for nothing any more."""
        self._end(list(self._requests))

    def _end_those_with_a_node(self) -> None:
        if self._requests:
            ready, _ = ray.wait(list(self._requests), num_returns=len(self._requests), timeout=0, fetch_local=False)
            if ready:
                self._settled = time.monotonic() + SETTLE_SECONDS
                self._end(ready)

    def _end(self, references: Collection[Any]) -> None:
        for reference in references:
            with suppress(Exception):
                ray.kill(self._requests.pop(reference), no_restart=True)
