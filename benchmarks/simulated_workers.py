"""Workers in this process that are at work on a clock of their own, behind the real dispatcher.

Each gets its tasks and sends its messages as bytes, as processes and actors do. A task's result is made at once, and
its messages arrive when the clock says, one at a time; the clock only counts. So a thousand of them cost this machine
no more than their messages, and how long a run would take is exact.
"""

from __future__ import annotations

import heapq
import itertools
import pickle
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from curator.types import Progress
from curator_pipelines.executors import Outcome, Task, WorkerContext
from curator_pipelines.executors.dispatcher import Loss, WorkerHandle, dispatch
from curator_pipelines.executors.messages import Kind, encode
from curator_pipelines.executors.protocol import as_tasks, no_progress


class Handle(WorkerHandle):
    """A worker in this process: it does a task at once, and its messages come when its clock says.

    Args:
        workers: whose worker it is.
        speed: how fast it is, beside one of speed 1.
    """

    def __init__(self, workers: Workers, speed: float) -> None:
        super().__init__("node", "a worker")
        self._workers = workers
        self._speed = speed

    def give(self, pickled_task: bytes) -> None:
        """Do the task now; what there is to say of it comes later."""
        task = pickle.loads(pickled_task)
        begin = time.process_time()
        value = self._workers.work(task)
        self._workers.cpu += time.process_time() - begin
        seconds = self._workers.seconds(task) / self._speed
        self._workers.send(self, seconds / 2, bytes(encode(Kind.PROGRESS, {"samples": 1})))
        self._workers.send(self, seconds, bytes(encode(Kind.VALUE, value)))

    def kill(self) -> None:
        """Nothing runs."""


@dataclass
class Workers:
    """The dispatcher's backend: one message at a time, in the order of the clock.

    Attributes:
        speeds: of each worker.
        work: what a task is.
        seconds: how long a worker of speed 1 is at it.
        now: the clock.
        cpu: seconds of this process that the work itself took.
    """

    speeds: Sequence[float]
    work: Callable[[Task[Any]], Any]
    seconds: Callable[[Task[Any]], float]
    now: float = 0.0
    cpu: float = 0.0
    _messages: list[tuple[float, int, Handle, bytes]] = field(default_factory=list)
    _serial: Iterator[int] = field(default_factory=itertools.count)

    @property
    def workers(self) -> int:
        """As many as have a speed."""
        return len(self.speeds)

    def start(self, workers: Sequence[Handle]) -> Handle | None:
        """One that is open at once."""
        if len(workers) == len(self.speeds):
            return None
        handle = Handle(self, self.speeds[len(workers)])
        self.send(handle, 0.0, bytes(encode(Kind.READY)))
        return handle

    def send(self, handle: Handle, seconds: float, message: bytes) -> None:
        """Let a message arrive in so many seconds."""
        heapq.heappush(self._messages, (self.now + seconds, next(self._serial), handle, message))

    def listen(self, workers: Sequence[Handle]) -> Iterator[tuple[Handle, bytes | Loss]]:
        """The next message; the clock goes on to it."""
        self.now, _, handle, message = heapq.heappop(self._messages)
        yield handle, message

    def dismiss(self, workers: Sequence[Handle]) -> None:
        """Nothing runs."""

    def kill(self, workers: Sequence[Handle]) -> None:
        """Nothing runs."""


@dataclass
class Simulated:
    """An executor of such workers."""

    backend: Workers

    @property
    def workers(self) -> int:
        """The number of workers."""
        return self.backend.workers

    def describe(self) -> str:
        """Say for people where the work runs."""
        return f"{self.workers} workers in this process"

    def map(
        self, stage: Any, tasks: Iterable[Any], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[Any, Any], None, None]:
        """Run `stage` over `tasks`; None is for workers that know what to do."""
        if stage is not None:
            self.backend.work = stage.open(WorkerContext(1, "cpu", no_progress))
        yield from dispatch(self.backend, as_tasks(tasks), on_progress)
