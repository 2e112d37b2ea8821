"""The Ray executor: actors on the nodes of a cluster.

Core actors and not Ray Data, whose webdataset reader spends most of its time on estimating sizes and which
commits nothing before all of it is done.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing, suppress
from typing import Any, TypeVar

import ray

from curator.types import Progress
from curator_pipelines.executors.dispatcher import Loss, Lost, dispatch
from curator_pipelines.executors.fitness import Needs, cluster_in_words
from curator_pipelines.executors.patience import WAIT_SECONDS, Patience
from curator_pipelines.executors.placement import Placement, plan_placement
from curator_pipelines.executors.protocol import Outcome, Stage, Task, as_tasks
from curator_pipelines.executors.ray_cluster import Cluster, Node
from curator_pipelines.executors.ray_demand import Demand
from curator_pipelines.executors.ray_handle import ActorHandle
from curator_pipelines.executors.ray_survey import Survey

__all__ = ["RayExecutor"]

# A wait for messages ends after this many seconds, so that progress is asked for and nodes are counted.
LISTEN_SECONDS = 0.25
# The end of a process may be heard before that of its node: the cause is asked for so many seconds later.
CAUSE_SECONDS = 1.0
COUNT_NODES_EVERY = 2.0
# Actors that were told to end may take this many seconds.
LEAVE_SECONDS = 10.0
# When no actor could start for this many seconds, the user is told what is missing.
TELL_AFTER = 30.0
# Workers that there is room for get this many seconds to take what they need before more nodes are asked for.
ASK_AFTER = 5.0
ADVICE = (
    "Ray's logs on that node hold the worker's own messages; if the node ran out of memory, use fewer workers or "
    "smaller batches"
)

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class RayExecutor:
    """Runs stages in actors of a Ray cluster, which grows and shrinks as it likes: nodes that join get actors too.

    Where there are more tasks than workers, the autoscaler, if there is one, is asked for more nodes.

    Args:
        cluster: from `connect`.
        workers: the number of actors; None for as many as the cluster has room for: one per GPU, or by CPUs.
        needs: what a worker needs of its node; nodes that cannot are left out, and named.
        survey: looks at the nodes; None where nothing matters but what Ray knows of them.
        wait_seconds: how long to wait while there is no worker.
        label: says for people in Ray's dashboard whose actors these are.

    Attributes:
        placements: which actors go to which node.
    """

    def __init__(
        self,
        cluster: Cluster,
        workers: int | None = None,
        *,
        needs: Needs = Needs(),  # noqa: B008
        survey: Survey | None = None,
        wait_seconds: float = WAIT_SECONDS,
        label: str = "",
    ) -> None:
        self.cluster = cluster
        self.placements: list[Placement] = []
        self.needs = needs
        self.wait_seconds = wait_seconds
        self.label = label
        self._asked_for = workers
        self._survey = survey
        self._counted = 0.0
        self.count_nodes()

    @property
    def workers(self) -> int:
        """The number of tasks that are worked on at the same time, on the nodes that there are now."""
        return max(1, sum(placement.count for placement in self.placements))

    def count_nodes(self, every: float = 0.0) -> None:
        """Plan anew for the nodes that there are now, unless that was done in the last `every` seconds."""
        if time.monotonic() - self._counted < every:
            return
        nodes = self.cluster.nodes()
        if self._survey is not None:
            self._survey.update(nodes)
            nodes = self._survey.fit(nodes, self.needs)
        self.placements = plan_placement(nodes, self._asked_for, self.needs.gpus, on_gpus=self.needs.on_gpus)
        self._counted = time.monotonic()

    def wanted(self, tasks_left: int) -> int:
        """How many workers could work beside those that there is room for."""
        most = tasks_left if self._asked_for is None else min(tasks_left, self._asked_for)
        is_looking = self._survey is not None and self._survey.is_looking
        return 0 if is_looking else max(0, most - sum(placement.count for placement in self.placements))

    @property
    def left_out(self) -> set[str]:
        """The ids of nodes that are there and of no use."""
        return self._survey.left_out if self._survey is not None else set()

    def missing(self) -> str:
        """What a run without workers waits for, for people."""
        has = cluster_in_words(self.cluster.nodes())
        if self.placements:
            return f"a worker to start: the {self.needs.text()} for it are in use ({has})"
        return f"a node with {self.needs.text()} for a worker ({has})"

    def describe(self) -> str:
        """Say for people where the work runs."""
        if not self.placements:
            return f"{self.cluster.name}: no worker yet"
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        nodes = f" on {len(self.placements)} nodes" if len(self.placements) > 1 else ""
        threads = sorted({placement.threads for placement in self.placements}) or [1]
        counts = str(threads[0]) if len(threads) == 1 else f"{threads[0]} to {threads[-1]}"
        each = " each" if self.workers > 1 else ""
        gpus = f", {self.needs.gpus:g} GPU{each}" if self.needs.on_gpus else ""
        dashboard = f" (dashboard {self.cluster.dashboard})" if self.cluster.dashboard else ""
        return (
            f"{self.cluster.name}: {workers}{nodes}, {counts} {'thread' if counts == '1' else 'threads'}{each}{gpus}"
            f"{dashboard}"
        )

    def map(
        self, stage: Stage[T, R], tasks: Iterable[T | Task[T]], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[T, R], None, None]:
        """Run `stage` over `tasks`; see `Executor.map`."""
        total = len(tasks) if isinstance(tasks, Sized) else None
        actors = _Actors(self, pickle.dumps(stage, protocol=pickle.HIGHEST_PROTOCOL), total)
        with closing(dispatch(actors, as_tasks(tasks), on_progress)) as outcomes:
            for outcome in outcomes:
                actors.ended += 1
                yield outcome


class _Actors:
    """Actors that open one stage: the dispatcher's backend.

    Args:
        executor: says how many actors there are, and on which nodes.
        pickled_stage: what every actor opens.
        total: how many tasks there are; None where only their end will tell.

    Attributes:
        ended: how many of the tasks have ended.
    """

    def __init__(self, executor: RayExecutor, pickled_stage: bytes, total: int | None) -> None:
        self.ended = 0
        self._executor = executor
        self._pickled_stage = pickled_stage
        self._total = total
        self._demand = Demand()
        self._patience = Patience(executor.wait_seconds, tell_after=TELL_AFTER)
        # Workers that have ended, when that was heard, and how.
        self._ended: dict[ActorHandle, tuple[float, Exception]] = {}
        # Ids of nodes that did not answer: to ask one takes seconds, and it may have had many workers.
        self._silent: set[str] = set()
        self._began = time.monotonic()

    @property
    def workers(self) -> int:
        self._executor.count_nodes(COUNT_NODES_EVERY)
        return self._executor.workers

    def start(self, workers: Sequence[ActorHandle]) -> ActorHandle | None:
        placement = self._free_placement(workers)
        return None if placement is None else ActorHandle(placement, self._pickled_stage, self._executor.label)

    def _free_placement(self, workers: Sequence[ActorHandle]) -> Placement | None:
        """A placement with room for an actor: that of the node with the fewest, so that few actors spread out."""
        running = Counter(worker.node.id for worker in workers)
        free = [placement for placement in self._executor.placements if running[placement.node.id] < placement.count]
        return min(free, key=lambda placement: running[placement.node.id], default=None)

    def listen(self, workers: Sequence[ActorHandle]) -> Iterator[tuple[ActorHandle, bytes | Loss]]:
        self._ask_for_nodes(workers)
        staying = []
        for worker in workers:
            # What it does would be lost with its node; elsewhere it can begin at once.
            if self._executor.cluster.was_announced(worker.node.id):
                yield worker, Loss(f"node {worker.node.machine} is about to leave", ADVICE, Lost.ANNOUNCED_NODE)
            elif worker.is_leaving:
                yield worker, self._told_to_end(worker)
            elif worker not in self._ended:
                staying.append(worker)
            elif time.monotonic() - self._ended[worker][0] > CAUSE_SECONDS:
                yield worker, self._loss(worker, self._ended.pop(worker)[1])
        for worker in staying:
            worker.ask_progress()
        owners: dict[Any, ActorHandle] = {reference: worker for worker in staying for reference in worker.references}
        ready = _wait_for_any(list(owners))
        self._wait_patiently(staying)
        for reference in ready:
            worker = owners[reference]
            if worker in self._ended:
                continue  # both of its references say so
            try:
                messages = worker.receive(reference)
            except ray.exceptions.RayError as error:
                self._ended[worker] = time.monotonic(), error
            else:
                yield from ((worker, message) for message in messages)

    def _ask_for_nodes(self, workers: Sequence[ActorHandle]) -> None:
        """Ask for as many workers more as there are tasks for."""
        if time.monotonic() - self._began < ASK_AFTER:
            return
        # Where the number of tasks is not known, those that wait make the dispatcher look for one worker at least.
        left = self._total - self.ended if self._total is not None else int(not workers)
        placements = self._executor.placements
        cpus = min((placement.cpus for placement in placements), default=1.0)
        memory = min((placement.memory for placement in placements), default=0)
        gpus = self._executor.needs.gpus if self._executor.needs.on_gpus else 0.0
        wanted, avoids = self._executor.wanted(left), self._executor.left_out
        self._demand.ask(wanted, cpus=cpus, gpus=gpus, memory=memory, avoids=avoids)

    def _wait_patiently(self, workers: Sequence[ActorHandle]) -> None:
        if any(worker.is_open for worker in workers) or any(worker.has_begun() for worker in workers):
            self._patience.reset()
        else:
            self._patience.wait_for(self._executor.missing)

    def _told_to_end(self, worker: ActorHandle) -> Loss:
        """The loss of a worker that was told to end by SIGTERM, mostly since its node is about to."""
        self._executor.count_nodes()
        is_announced = self._executor.cluster.was_announced(worker.node.id)
        # Something may end a worker time and again for what a task does to its machine, so this has a limit.
        kind = Lost.ANNOUNCED_NODE if is_announced else Lost.NODE
        return Loss(f"SIGTERM on {worker.node.machine}", ADVICE, kind)

    def _loss(self, worker: ActorHandle, error: Exception) -> Loss:
        if getattr(error, "actor_init_failed", False):
            last_line = str(error).strip().splitlines()[-1].strip()
            return Loss(last_line, ADVICE, Lost.NEVER_STARTED)
        self._executor.count_nodes()
        if getattr(error, "preempted", False) or self._executor.cluster.was_announced(worker.node.id):
            return Loss(f"node {worker.node.machine} left, as it had announced", ADVICE, Lost.ANNOUNCED_NODE)
        if self._is_lost(worker.node):
            return Loss(f"the loss of node {worker.node.machine}", ADVICE, Lost.NODE)
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            return Loss(f"Ray's memory monitor on {worker.node.machine}", ADVICE)
        return Loss(f"the end of its process on {worker.node.machine}", ADVICE)

    def _is_lost(self, node: Node) -> bool:
        if all(placement.node.id != node.id for placement in self._executor.placements):
            return True
        if node.id not in self._silent and not node.answers():
            self._silent.add(node.id)
        return node.id in self._silent

    def dismiss(self, workers: Sequence[ActorHandle]) -> None:
        if workers:
            ends = [worker.finish() for worker in workers]
            ray.wait(ends, num_returns=len(ends), timeout=LEAVE_SECONDS)

    def kill(self, workers: Sequence[ActorHandle]) -> None:
        self._demand.withdraw()
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
