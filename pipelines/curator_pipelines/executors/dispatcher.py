"""The loop that both executors with workers share: tasks go to workers, messages of the workers become outcomes.

What differs between processes and Ray actors is behind two small interfaces: `Backend` starts workers and listens
to them, `WorkerHandle` is the driver's side of one worker.
"""

import logging
import pickle
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from curator.types import Progress
from curator_pipelines.executors.failures import dead_at_start, given_up
from curator_pipelines.executors.messages import Kind, body_of, failure_in, kind_of, outcome_in
from curator_pipelines.executors.protocol import MAX_ATTEMPTS, MAX_DEATHS_AT_START, Outcome, Task, no_progress

__all__ = ["Backend", "Loss", "WorkerHandle", "dispatch"]

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class WorkerHandle(ABC):
    """The driver's side of one worker. The worker opens the stage as soon as it runs.

    Attributes:
        task: the task that the worker holds; None where it holds none.
        is_open: whether the worker has opened the stage and so can take tasks.
        reported: the progress that the worker has reported for its task.
    """

    def __init__(self) -> None:
        self.task: Task[Any] | None = None
        self.is_open = False
        self.reported: Counter[str] = Counter()

    @abstractmethod
    def give(self, pickled_task: bytes) -> None:
        """Send a task to the worker, which is open and holds none. A loss shows when the backend listens."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once, whatever it does. A worker that has ended may be killed again."""


@dataclass(frozen=True)
class Loss:
    """What the backend says of a worker that is lost.

    Attributes:
        cause: what ended the worker, such as `SIGKILL`.
        advice: what a person can do about it.
        is_start_failure: whether a loss before the stage was open says that workers cannot start.
    """

    cause: str
    advice: str
    is_start_failure: bool = True


W = TypeVar("W", bound=WorkerHandle)


class Backend(Protocol[W]):
    """How workers of one kind are started, heard and ended."""

    @property
    def workers(self) -> int:
        """How many workers there may be at the same time."""
        ...

    def start(self, workers: Sequence[W]) -> W | None:
        """Start one worker beside `workers`; None where there is no room for it now."""
        ...

    def listen(self, workers: Sequence[W]) -> Iterator[tuple[W, bytes | Loss]]:
        """Wait for a while and yield what the workers say: messages, and losses.

        A worker that was lost must not be yielded again.
        """
        ...

    def dismiss(self, workers: Sequence[W]) -> None:
        """Let workers that hold no task end by themselves."""
        ...

    def kill(self, workers: Sequence[W]) -> None:
        """End all workers at once and wait until they have ended."""
        ...


def dispatch(
    backend: Backend[W], tasks: Iterator[Task[T]], on_progress: Progress | None
) -> Generator[Outcome[T, Any], None, None]:
    """Hand `tasks` to workers of `backend` and yield one outcome for each; see `Executor.map`."""
    dispatcher = _Dispatcher(backend, tasks, on_progress or no_progress)
    try:
        yield from dispatcher.outcomes()
        backend.dismiss(dispatcher.workers)
    finally:
        backend.kill(dispatcher.workers)


class _Dispatcher(Generic[T, W]):
    """One `map`. Tasks wait until a worker is open and idle, so whichever is free first takes the next one."""

    def __init__(self, backend: Backend[W], tasks: Iterator[Task[T]], on_progress: Progress) -> None:
        self.workers: list[W] = []
        self._backend = backend
        self._tasks = tasks
        self._on_progress = on_progress
        self._waiting: deque[Task[T]] = deque()
        self._done: deque[Outcome[T, Any]] = deque()
        self._deaths_at_start = 0

    def outcomes(self) -> Generator[Outcome[T, Any], None, None]:
        self._hand_out()
        while self._done or self._waiting or self._busy():
            while self._done:
                yield self._done.popleft()
            if self._busy() or (self._waiting and not self._idle()):
                for worker, message in self._backend.listen(self.workers):
                    self._hear(worker, message)
            # Before the outcomes are yielded: no worker should be idle while the caller looks at them.
            self._hand_out()

    def _busy(self) -> list[W]:
        return [worker for worker in self.workers if worker.task is not None]

    def _idle(self) -> list[W]:
        return [worker for worker in self.workers if worker.is_open and worker.task is None]

    def _hand_out(self) -> None:
        limit = self._backend.workers
        # A task that waits for a worker to start counts as taken: `tasks` is read lazily.
        free = limit - len(self._busy())
        while len(self._waiting) < free and (task := next(self._tasks, None)) is not None:
            self._waiting.append(task)
        for worker in self._idle():
            if self._waiting:
                self._give(worker, self._waiting.popleft())
        self._start_workers(limit)

    def _start_workers(self, limit: int) -> None:
        opening = sum(not worker.is_open for worker in self.workers)
        for _ in range(min(len(self._waiting) - opening, limit - len(self.workers))):
            worker = self._backend.start(self.workers)
            if worker is None:
                return
            self.workers.append(worker)

    def _give(self, worker: W, task: Task[T]) -> None:
        try:
            pickled_task = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note(f"{task} cannot be sent to a worker: it does not pickle")
            self._done.append(Outcome(task, error=error))
            return
        worker.task = task
        worker.reported.clear()
        worker.give(pickled_task)

    def _hear(self, worker: W, message: bytes | Loss) -> None:
        if isinstance(message, Loss):
            self._lost(worker, message)
            return
        match kind_of(message):
            case Kind.READY:
                worker.is_open = True
            case Kind.OPEN_FAILED:
                raise failure_in(message).revive()
            case Kind.PROGRESS:
                self._progress(worker, body_of(message))
            case Kind.VALUE | Kind.FAILURE:
                self._finished(worker, message)

    def _progress(self, worker: W, increments: Mapping[str, int]) -> None:
        worker.reported.update(increments)
        self._on_progress(increments)

    def _finished(self, worker: W, message: bytes) -> None:
        assert worker.task is not None
        self._done.append(outcome_in(worker.task, message))
        self._deaths_at_start = 0
        worker.task = None

    def _lost(self, worker: W, loss: Loss) -> None:
        self.workers.remove(worker)
        worker.kill()
        if worker.task is not None:
            self._take_back(worker.reported)
            self._lost_with(replace(worker.task, attempt=worker.task.attempt + 1), loss)
        elif not worker.is_open:
            self._lost_at_start(loss)

    def _take_back(self, reported: Mapping[str, int]) -> None:
        increments = {name: -count for name, count in reported.items() if count}
        if increments:
            self._on_progress(increments)

    def _lost_with(self, task: Task[T], loss: Loss) -> None:
        _log.warning("a worker was lost (%s) in %s, loss %d of %d", loss.cause, task, task.attempt, MAX_ATTEMPTS)
        if task.attempt < MAX_ATTEMPTS:
            self._waiting.appendleft(task)
        else:
            self._done.append(Outcome(task, error=given_up(task, loss.cause, loss.advice), lost=True))

    def _lost_at_start(self, loss: Loss) -> None:
        self._deaths_at_start += loss.is_start_failure
        _log.warning("a worker was lost (%s) while it started", loss.cause)
        if self._deaths_at_start >= MAX_DEATHS_AT_START:
            raise dead_at_start(self._deaths_at_start, loss.cause, loss.advice)
