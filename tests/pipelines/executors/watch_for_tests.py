"""A watcher that keeps all it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curator_pipelines.executors import TaskEnd, WorkerState


class Seen:
    def __init__(self) -> None:
        self.looks: list[list[WorkerState]] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.ends: list[TaskEnd] = []

    def look(self, workers: Callable[[], list[WorkerState]]) -> None:
        self.looks.append(workers())

    def note(self, kind: str, text: str, **facts: Any) -> None:
        self.events.append((kind, text, facts))

    def ended(self, end: TaskEnd) -> None:
        self.ends.append(end)
