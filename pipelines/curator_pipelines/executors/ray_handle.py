"""The driver's side of one Ray actor."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from curator_pipelines.executors.dispatcher import WorkerHandle
from curator_pipelines.executors.messages import Kind, encode
from curator_pipelines.executors.placement import Placement
from curator_pipelines.executors.ray_worker import RayWorker

__all__ = ["ActorHandle"]

# Seconds between two questions for an actor's progress.
ASK_EVERY = 0.5


class ActorHandle(WorkerHandle):
    """One actor, pinned to a node; it opens the stage as soon as it runs.

    Args:
        placement: its node, and what it reserves.
        pickled_stage: what it opens.
        label: see `RayWorker`.

    Attributes:
        answer: the reference of what the actor works on now; None where it works on nothing.
        is_leaving: whether its process has said that it was told to end.
    """

    def __init__(self, placement: Placement, pickled_stage: bytes, label: str = "") -> None:
        super().__init__(placement.node.id, f"a worker on {placement.node.machine}")
        self.node = placement.node
        self.gpus = placement.gpus
        # Never restarted by Ray: the executor decides what a loss means, and where the next one runs.
        options: dict[str, Any] = {
            "num_cpus": placement.cpus,
            "num_gpus": placement.gpus,
            "memory": placement.memory or None,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {"progress": 1},
            "scheduling_strategy": NodeAffinitySchedulingStrategy(placement.node.id, soft=False),
        }
        actor_class: Any = ray.remote(**options)(RayWorker)
        self._actor = actor_class.remote(label)
        self._begun: Any = self._actor.__ray_ready__.remote()
        device = "cuda" if placement.gpus else "cpu"
        self.answer: Any = self._actor.open.remote(pickled_stage, placement.threads, device)
        self.is_leaving = False
        self._question: Any = None
        self._next_question = 0.0
        self._serial = 0

    @property
    def references(self) -> list[Any]:
        """What becomes ready when the actor says something or ends."""
        return [reference for reference in (self.answer, self._question) if reference is not None]

    def has_begun(self) -> bool:
        """Whether the actor runs, and so has what it reserves; false of one that is lost."""
        if self._begun is None:
            return True
        if ray.wait([self._begun], timeout=0, fetch_local=False)[0]:
            with suppress(ray.exceptions.RayError):
                ray.get(self._begun)
                self._begun = None
                return True
        return False

    def give(self, pickled_task: bytes) -> None:
        """Send a task to the actor, which holds none."""
        self._serial += 1
        self._next_question = time.monotonic() + ASK_EVERY
        self.answer = self._actor.work.remote(self._serial, pickled_task)

    def ask_progress(self) -> None:
        """Ask for the progress of the task, unless that was done just now."""
        if self.task is not None and self._question is None and time.monotonic() >= self._next_question:
            self._question = self._actor.progress.options(concurrency_group="progress").remote()

    def receive(self, reference: Any) -> list[bytes]:
        """Return the messages behind one of `references` that is ready.

        Raises:
            RayError: the actor is lost.
        """
        if reference == self._question:
            return self._receive_progress()
        answer, self.answer = ray.get(self.answer), None
        if self.task is None:
            return [answer]  # of `open`
        message, total = answer
        return [*self._unreported(total), message]

    def _receive_progress(self) -> list[bytes]:
        question, self._question = self._question, None
        self._next_question = time.monotonic() + ASK_EVERY
        try:
            serial, total, self.is_leaving = ray.get(question)
        except ray.exceptions.RayError:
            return []  # the reference of the task will say that the actor is lost
        return self._unreported(total) if serial == self._serial and self.task is not None else []

    def _unreported(self, total: dict[str, int]) -> list[bytes]:
        """A message with what of a task's progress the driver does not know yet; none if it knows everything."""
        news = {name: count - self.reported[name] for name, count in total.items() if count != self.reported[name]}
        return [bytes(encode(Kind.PROGRESS, news))] if news else []

    def finish(self) -> Any:
        """Let the actor end by itself; the reference is ready when it has."""
        return self._actor.__ray_terminate__.remote()

    def kill(self) -> None:
        """End the actor at once. An actor that is lost to the driver may still run."""
        with suppress(Exception):
            ray.kill(self._actor, no_restart=True)
