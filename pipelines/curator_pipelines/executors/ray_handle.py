"""The driver's side of one Ray actor."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Generic, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from curator_pipelines.executors.placement import Placement
from curator_pipelines.executors.protocol import Task
from curator_pipelines.executors.ray_worker import RayWorker

__all__ = ["ActorHandle"]

LOOK_EVERY = 0.5
"""Seconds between two questions for an actor's progress."""

T = TypeVar("T")


class ActorHandle(Generic[T]):
    """One actor, pinned to a node; it opens the stage as soon as it runs.

    Args:
        placements: its node, and what it reserves.
        pickled_stage: what it opens.
    """

    def __init__(self, placements: Placement, pickled_stage: Any) -> None:
        self.node = placements.node
        self.task: Task[T] | None = None
        self.is_open = False
        self.reported: Counter[str] = Counter()
        self.started = time.monotonic()
        # Never restarted by Ray: the executor decides what a loss means, and where the next one runs.
        options: dict[str, Any] = {
            "num_cpus": placements.cpus,
            "num_gpus": placements.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {"progress": 1},
            "scheduling_strategy": NodeAffinitySchedulingStrategy(placements.node.id, soft=False),
        }
        actor_class: Any = ray.remote(**options)(RayWorker)
        self._actor = actor_class.remote()
        self.answer: Any = self._actor.open.remote(
            pickled_stage, placements.threads, "cuda" if placements.gpus else "cpu"
        )
        self.progress: Any = None
        self._next_look = 0.0
        self._serial = 0

    def give(self, task: Task[T], pickled_task: bytes) -> None:
        """Hand a task to the actor, which holds none."""
        self.task = task
        self._serial += 1
        self.reported.clear()
        self._next_look = time.monotonic() + LOOK_EVERY
        self.answer = self._actor.work.remote(self._serial, pickled_task)

    def ask_progress(self) -> None:
        """Ask how far the task is, unless that was done just now."""
        if self.task is not None and self.progress is None and time.monotonic() >= self._next_look:
            self.progress = self._actor.progress.options(concurrency_group="progress").remote()

    def hear_progress(self) -> dict[str, int]:
        """What is new in the answer to the last question."""
        question, self.progress = self.progress, None
        self._next_look = time.monotonic() + LOOK_EVERY
        try:
            serial, total = ray.get(question)
        except ray.exceptions.RayError:
            return {}  # the task's own answer will say that the actor is lost
        return self.news(total) if serial == self._serial and self.task is not None else {}

    def news(self, total: dict[str, int]) -> dict[str, int]:
        """What of a task's progress was not known yet."""
        news = {name: count - self.reported[name] for name, count in total.items() if count != self.reported[name]}
        self.reported = Counter(total)
        return news

    def finish(self) -> Any:
        """Let the actor end by itself; the reference is ready when it has."""
        return self._actor.__ray_terminate__.remote()

    def kill(self) -> None:
        """End the actor at once."""
        ray.kill(self._actor, no_restart=True)
