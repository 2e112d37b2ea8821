"""The Ray executor: actors on the nodes of a cluster.

Core actors and not Ray Data, whose webdataset reader spends most of its time on estimating sizes and which
commits nothing before all of it is done.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import ray

from curator.types import Progress
from curator_pipelines.executors.dispatcher import Loss, Lost, dispatch
from curator_pipelines.executors.placement import Placement, plan_placement
from curator_pipelines.executors.protocol import Outcome, Stage, Task, as_tasks
from curator_pipelines.executors.ray_cluster import Cluster
from curator_pipelines.executors.ray_handle import ActorHandle
from curator_pipelines.executors.watch import note_event

__all__ = ["RayExecutor"]

# A wait for messages ends after this many seconds, so that progress is asked for and nodes are counted.
LISTEN_SECONDS = 0.25
COUNT_NODES_EVERY = 2.0
# Actors that were told to end may take this many seconds.
LEAVE_SECONDS = 10.0
# When no actor could start for this many seconds, the user is told what is missing.
PATIENCE_SECONDS = 30.0
ADVICE = (
    "Ray's logs on that node hold the worker's own messages; if the node ran out of memory, use fewer workers or "
    "smaller batches"
)

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class RayExecutor:
    """Runs stages in actors of a Ray cluster. Nodes that join while it runs get actors too.

    Args:
        cluster: from `connect`.
        workers: the number of actors; None for as many as the cluster has room for: one per GPU, or by CPUs.
        gpus_per_worker: the GPUs, or the share of one GPU, that an actor gets.
        on_gpus: whether the work is for GPUs.

    Attributes:
        placements: which actors go to which node.
    """

    def __init__(
        self, cluster: Cluster, workers: int | None = None, *, gpus_per_worker: float = 1.0, on_gpus: bool = False
    ) -> None:
        self.cluster = cluster
        self.placements: list[Placement] = []
        self._workers = workers
        self._gpus_per_worker = gpus_per_worker
        self._on_gpus = on_gpus
        self._counted = 0.0
        self.count_nodes()

    @property
    def workers(self) -> int:
        """The number of tasks that are worked on at the same time, on the nodes that there are now."""
        return max(1, sum(placement.count for placement in self.placements))

    def count_nodes(self, every: float = 0.0) -> None:
        """Plan anew for the nodes that there are now, unless that was done in the last `every` seconds."""
        if time.monotonic() - self._counted >= every:
            self.placements = plan_placement(
                self.cluster.nodes(), self._workers, self._gpus_per_worker, on_gpus=self._on_gpus
            )
            self._counted = time.monotonic()

    def describe(self) -> str:
        """Say for people where the work runs."""
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        nodes = f" on {len(self.placements)} nodes" if len(self.placements) > 1 else ""
        threads = sorted({placement.threads for placement in self.placements}) or [1]
        counts = str(threads[0]) if len(threads) == 1 else f"{threads[0]} to {threads[-1]}"
        each = " each" if self.workers > 1 else ""
        gpus = f", {self._gpus_per_worker:g} GPU{each}" if self._on_gpus else ""
        dashboard = f" (dashboard {self.cluster.dashboard})" if self.cluster.dashboard else ""
        return (
            f"{self.cluster.name}: {workers}{nodes}, {counts} {'thread' if counts == '1' else 'threads'}{each}{gpus}"
            f"{dashboard}"
        )

    def map(
        self, stage: Stage[T, R], tasks: Iterable[T | Task[T]], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[T, R], None, None]:
        """Run `stage` over `tasks`; see `Executor.map`."""
        actors = _Actors(self, pickle.dumps(stage, protocol=pickle.HIGHEST_PROTOCOL))
        yield from dispatch(actors, as_tasks(tasks), on_progress)


class _Actors:
    """Actors that open one stage: the dispatcher's backend.

    Args:
        executor: says how many actors there are, and on which nodes.
        pickled_stage: what every actor opens.
    """

    def __init__(self, executor: RayExecutor, pickled_stage: bytes) -> None:
        self._executor = executor
        self._pickled_stage = pickled_stage
        self._last_heard = time.monotonic()

    @property
    def workers(self) -> int:
        self._executor.count_nodes(COUNT_NODES_EVERY)
        return self._executor.workers

    def start(self, workers: Sequence[ActorHandle]) -> ActorHandle | None:
        placement = self._free_placement(workers)
        return None if placement is None else ActorHandle(placement, self._pickled_stage)

    def _free_placement(self, workers: Sequence[ActorHandle]) -> Placement | None:
        """A placement with room for an actor: that of the node with the fewest, so that few actors spread out."""
        running = Counter(worker.node.id for worker in workers)
        free = [placement for placement in self._executor.placements if running[placement.node.id] < placement.count]
        return min(free, key=lambda placement: running[placement.node.id], default=None)

    def listen(self, workers: Sequence[ActorHandle]) -> Iterator[tuple[ActorHandle, bytes | Loss]]:
        for worker in workers:
            worker.ask_progress()
        owners: dict[Any, ActorHandle] = {reference: worker for worker in workers for reference in worker.references}
        ready = _wait_for_any(list(owners))
        self._complain(workers, heard=bool(ready))
        lost = set()
        for reference in ready:
            worker = owners[reference]
            if worker in lost:
                continue  # both of its references say so
            try:
                messages = worker.receive(reference)
            except ray.exceptions.RayError as error:
                lost.add(worker)
                yield worker, self._loss(worker, error)
            else:
                yield from ((worker, message) for message in messages)

    def _complain(self, workers: Sequence[ActorHandle], heard: bool) -> None:
        now = time.monotonic()
        if heard:
            self._last_heard = now
        elif all(worker.task is None for worker in workers) and now - self._last_heard > PATIENCE_SECONDS:
            self._last_heard = now
            if workers:
                text = "no worker could start yet: waiting for CPUs or GPUs of the cluster, which are in use"
            else:
                text = "the cluster has no node with room for a worker: waiting for one to join"
            _log.warning("%s", text)
            note_event("waiting", text)

    def _loss(self, worker: ActorHandle, error: Exception) -> Loss:
        if getattr(error, "actor_init_failed", False):
            last_line = str(error).strip().splitlines()[-1].strip()
            return Loss(last_line, ADVICE, Lost.NEVER_STARTED)
        self._executor.count_nodes()
        if getattr(error, "preempted", False) or self._executor.cluster.was_announced(worker.node.id):
            return Loss(f"node {worker.node.machine} left, as it had announced", ADVICE, Lost.ANNOUNCED_NODE)
        if all(placement.node.id != worker.node.id for placement in self._executor.placements):
            return Loss(f"the loss of node {worker.node.machine}", ADVICE, Lost.NODE)
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            return Loss(f"Ray's memory monitor on {worker.node.machine}", ADVICE)
        return Loss(f"the end of its process on {worker.node.machine}", ADVICE)

    def dismiss(self, workers: Sequence[ActorHandle]) -> None:
        if workers:
            ends = [worker.finish() for worker in workers]
            ray.wait(ends, num_returns=len(ends), timeout=LEAVE_SECONDS)

    def kill(self, workers: Sequence[ActorHandle]) -> None:
        for worker in workers:
            worker.kill()
        answers = [worker.answer for worker in workers if worker.answer is not None]
        if answers:
            with suppress(Exception):
                ray.wait(answers, num_returns=len(answers), timeout=LEAVE_SECONDS, fetch_local=False)


def _wait_for_any(references: list[Any]) -> list[Any]:
    """Wait until one is ready, for a while at most, and return all that are ready then."""
    if not references:
        time.sleep(LISTEN_SECONDS)  # no node has room: one may join
        return []
    ray.wait(references, num_returns=1, timeout=LISTEN_SECONDS, fetch_local=False)
    ready, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
    return list(ready)
