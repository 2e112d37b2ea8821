"""The Ray executor: actors on the nodes of a cluster.

Core actors and not Ray Data, whose webdataset reader spends most of its time on estimating sizes and which
commits nothing before all of it is done.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Generic, TypeVar

import ray

from curator.errors import CuratorError
from curator.types import Progress
from curator_pipelines.executors.failures import dead_at_start, given_up
from curator_pipelines.executors.messages import Kind, failure_in, kind_of, outcome_in
from curator_pipelines.executors.placement import Placement, plan_placement
from curator_pipelines.executors.protocol import (
    MAX_ATTEMPTS,
    MAX_DEATHS_AT_START,
    Outcome,
    Stage,
    Task,
    as_tasks,
    no_progress,
)
from curator_pipelines.executors.ray_cluster import Cluster
from curator_pipelines.executors.ray_handle import ActorHandle

__all__ = ["RayExecutor"]

WAIT_SECONDS = 0.25
COUNT_NODES_EVERY = 2.0
LEAVE_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""When no actor could start for so long, the user is told what is missing."""
ADVICE = (
    "Ray's logs on that node hold what it said itself; if the node ran out of memory, use fewer workers or smaller "
    "batches"
)

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class RayExecutor:
    """Runs stages in actors of a Ray cluster. Nodes that join while it runs get actors too.

    Args:
        cluster: from `connect`.
        workers: number of actors; None for as many as the cluster has room for: one per GPU, or by CPUs.
        gpus_per_worker: GPUs, or the share of one, that an actor gets.
        on_gpus: the work is for GPUs.
    """

    def __init__(
        self, cluster: Cluster, workers: int | None = None, *, gpus_per_worker: float = 1.0, on_gpus: bool = False
    ) -> None:
        self.cluster = cluster
        self._workers = workers
        self._gpus_per_worker = gpus_per_worker
        self._on_gpus = on_gpus
        self._seats: list[Placement] = []
        self._counted = 0.0
        self.count_nodes()

    @property
    def workers(self) -> int:
        """How many tasks are worked on at the same time, on the nodes that there are now."""
        return max(1, sum(placements.count for placements in self._seats))

    @property
    def placements(self) -> list[Placement]:
        """Where the actors go."""
        return self._seats

    def count_nodes(self, every: float = 0.0) -> None:
        """Plan anew for the nodes that there are now, unless that was done in the last `every` seconds."""
        if time.monotonic() - self._counted >= every:
            self._seats = plan_placement(
                self.cluster.nodes(), self._workers, self._gpus_per_worker, on_gpus=self._on_gpus
            )
            self._counted = time.monotonic()

    def describe(self) -> str:
        """Say for people where the work runs."""
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        nodes = f" on {len(self._seats)} nodes" if len(self._seats) > 1 else ""
        threads = sorted({placements.threads for placements in self._seats}) or [1]
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
        run = _Run[T, R](self, pickle.dumps(stage, protocol=pickle.HIGHEST_PROTOCOL), as_tasks(tasks), on_progress)
        try:
            yield from run.outcomes()
            run.dismiss()
        finally:
            run.kill()


class _Run(Generic[T, R]):
    """One `map`: tasks go to actors that are open and idle, their answers become outcomes."""

    def __init__(
        self, executor: RayExecutor, pickled_stage: bytes, tasks: Iterator[Task[T]], on_progress: Progress | None
    ) -> None:
        self._executor = executor
        self._pickled_stage = pickled_stage
        self._tasks = tasks
        self._on_progress = on_progress or no_progress
        self._slots: list[ActorHandle[T]] = []
        self._waiting: deque[Task[T]] = deque()
        self._done: deque[Outcome[T, R]] = deque()
        self._deaths_at_start = 0
        self._last_heard = time.monotonic()

    def outcomes(self) -> Generator[Outcome[T, R], None, None]:
        self._hand_out()
        while self._done or self._waiting or self._busy():
            while self._done:
                yield self._done.popleft()
            self._listen()
            # Before the outcomes are handed over: actors should not idle while the caller looks at them.
            self._hand_out()

    def dismiss(self) -> None:
        """Let the actors end in peace."""
        if self._slots:
            ends = [slot.finish() for slot in self._slots]
            ray.wait(ends, num_returns=len(ends), timeout=LEAVE_SECONDS)

    def kill(self) -> None:
        """End all actors at once, and wait until they have."""
        for slot in self._slots:
            with suppress(Exception):
                slot.kill()
        answers = [slot.answer for slot in self._slots if slot.answer is not None]
        if answers:
            with suppress(Exception):
                ray.wait(answers, num_returns=len(answers), timeout=LEAVE_SECONDS, fetch_local=False)
        self._slots.clear()

    def _busy(self) -> list[ActorHandle[T]]:
        return [slot for slot in self._slots if slot.task is not None]

    def _hand_out(self) -> None:
        self._executor.count_nodes(COUNT_NODES_EVERY)
        # Tasks that wait for an actor to start count as taken, so the promise of laziness holds.
        places = self._executor.workers - len(self._busy())
        while len(self._waiting) < places and (task := next(self._tasks, None)) is not None:
            self._waiting.append(task)
        for slot in self._slots:
            if slot.is_open and slot.task is None and self._waiting:
                self._give(slot, self._waiting.popleft())
        self._start_actors()

    def _start_actors(self) -> None:
        opening = sum(not slot.is_open for slot in self._slots)
        running = Counter(slot.node.id for slot in self._slots)
        for placements in self._free_seats(running):
            if opening >= len(self._waiting) or len(self._slots) >= self._executor.workers:
                return
            self._slots.append(ActorHandle(placements, self._pickled_stage))
            opening += 1

    def _free_seats(self, running: Counter[str]) -> Iterator[Placement]:
        """Placement without an actor, each node's first ones first, so that few actors spread over the nodes."""
        placements = self._executor.placements
        for place in range(max((some.count for some in placements), default=0)):
            for some in placements:
                if running[some.node.id] <= place < some.count:
                    yield some

    def _give(self, slot: ActorHandle[T], task: Task[T]) -> None:
        try:
            pickled_task = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note(f"{task} cannot be sent to a worker: it does not pickle")
            self._done.append(Outcome(task, error=error))
        else:
            slot.give(task, pickled_task)

    def _listen(self) -> None:
        """Hear whoever has something to say; return after a while if nobody has."""
        speakers: dict[Any, ActorHandle[T]] = {}
        for slot in self._slots:
            slot.ask_progress()
            speakers |= {reference: slot for reference in (slot.answer, slot.progress) if reference is not None}
        if not speakers:
            time.sleep(WAIT_SECONDS)  # no node has room: one may join
            self._complain()
            return
        references = list(speakers)
        ray.wait(references, num_returns=1, timeout=WAIT_SECONDS, fetch_local=False)
        ready, _ = ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)
        for reference in ready:
            slot = speakers[reference]
            if slot not in self._slots:
                continue  # lost, and both of its references say so
            if reference == slot.progress:
                self._tell(slot.hear_progress())
            else:
                self._hear(slot)
        if ready:
            self._last_heard = time.monotonic()
        else:
            self._complain()

    def _complain(self) -> None:
        if not self._busy() and time.monotonic() - self._last_heard > PATIENCE_SECONDS:
            self._last_heard = time.monotonic()
            if self._slots:
                _log.warning("no worker could start yet: waiting for CPUs or GPUs of the cluster, which are in use")
            else:
                _log.warning("the cluster has no node with room for a worker: waiting for one to join")

    def _tell(self, increments: dict[str, int]) -> None:
        if increments:
            self._on_progress(increments)

    def _hear(self, slot: ActorHandle[T]) -> None:
        try:
            answer = ray.get(slot.answer)
        except ray.exceptions.RayError as error:
            self._lost(slot, error)
            return
        slot.answer = None
        if slot.task is None:
            if kind_of(answer) is Kind.OPEN_FAILED:
                raise failure_in(answer).revive()
            slot.is_open = True
            return
        message, total = answer
        self._tell(slot.news(total))
        self._done.append(outcome_in(slot.task, message))
        self._deaths_at_start = 0
        slot.task = None

    def _lost(self, slot: ActorHandle[T], error: Exception) -> None:
        self._slots.remove(slot)
        with suppress(Exception):
            slot.kill()  # lost to us, it may still run
        if getattr(error, "actor_init_failed", False):
            raise CuratorError(f"workers cannot start on {slot.node.machine}: {_last_line(error)}; {ADVICE}")
        self._executor.count_nodes()
        node_is_gone = all(placements.node.id != slot.node.id for placements in self._executor.placements)
        cause = f"the loss of node {slot.node.machine}" if node_is_gone else _cause(slot, error)
        if slot.task is None:
            self._lost_at_start(cause, node_is_gone)
        else:
            self._tell({name: -count for name, count in slot.reported.items() if count})
            self._lost_with(replace(slot.task, attempt=slot.task.attempt + 1), cause)

    def _lost_with(self, task: Task[T], cause: str) -> None:
        _log.warning("a worker was lost (%s) in %s, loss %d of %d", cause, task, task.attempt, MAX_ATTEMPTS)
        if task.attempt < MAX_ATTEMPTS:
            self._waiting.appendleft(task)
        else:
            self._done.append(Outcome(task, error=given_up(task, cause, ADVICE), lost=True))

    def _lost_at_start(self, cause: str, node_is_gone: bool) -> None:
        # A node that leaves says nothing about whether workers can start.
        self._deaths_at_start += not node_is_gone
        _log.warning("a worker was lost (%s) while it started", cause)
        if self._deaths_at_start >= MAX_DEATHS_AT_START:
            raise dead_at_start(self._deaths_at_start, cause, ADVICE)


def _cause(slot: ActorHandle[Any], error: Exception) -> str:
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return f"Ray's memory monitor on {slot.node.machine}"
    return f"the end of its process on {slot.node.machine}"


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
