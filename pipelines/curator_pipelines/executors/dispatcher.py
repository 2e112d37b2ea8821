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
from enum import Enum, auto
from typing import Any, Generic, Protocol, TypeVar

from curator.types import Progress
from curator_pipelines.executors.failures import are_alike, cannot_open, dead_at_start, given_up, summary_of
from curator_pipelines.executors.messages import Kind, body_of, failure_in, kind_of, outcome_in
from curator_pipelines.executors.protocol import (
    MAX_ATTEMPTS,
    MAX_DEATHS_AT_START,
    MAX_NODE_LOSSES,
    Outcome,
    Task,
    no_progress,
)
from curator_pipelines.executors.usage import USAGE
from curator_pipelines.executors.watch import WorkerLog

__all__ = ["Backend", "Loss", "Lost", "WorkerHandle", "dispatch"]

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class WorkerHandle(ABC):
    """The driver's side of one worker. The worker opens the stage as soon as it runs.

    Args:
        node_id: names the node that the worker is on.
        place: says for people where it works, such as `worker 1 (cuda:1)`.

    Attributes:
        task: the task that the worker holds; None where it holds none.
        is_open: whether the worker has opened the stage and so can take tasks.
        reported: the progress that the worker has reported for its task, and what it used for it.
        gpus: the GPUs, or the share of one, that the worker holds.
    """

    gpus: float = 0.0

    def __init__(self, node_id: str, place: str) -> None:
        self.node_id = node_id
        self.place = place
        self.task: Task[Any] | None = None
        self.is_open = False
        self.reported: Counter[str] = Counter()

    @abstractmethod
    def give(self, pickled_task: bytes) -> None:
        """Send a task to the worker, which is open and holds none. A loss shows when the backend listens."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker at once, whatever it does. A worker that has ended may be killed again."""


class Lost(Enum):
    """What was lost."""

    WORKER = auto()
    NODE = auto()
    ANNOUNCED_NODE = auto()
    """A node that was known to leave: preempted, or drained for another reason."""
    NEVER_STARTED = auto()
    """A worker that could not even begin to start, as where a package is missing: the next one could not either."""


@dataclass(frozen=True)
class Loss:
    """What the backend says of a worker that is lost.

    Attributes:
        cause: what ended the worker, such as `SIGKILL`.
        advice: what a person can do about it.
        kind: what was lost with it.
    """

    cause: str
    advice: str
    kind: Lost = Lost.WORKER


W = TypeVar("W", bound=WorkerHandle)


class Backend(Protocol[W]):
    """How workers of one kind are started, heard and ended."""

    @property
    def workers(self) -> int:
        """How many workers there may be at the same time."""
        ...

    def start(self, workers: Sequence[W]) -> W | None:
        """Start one worker beside `workers`, some of which may have ended; None where there is no room for it now."""
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
        backend.kill([*dispatcher.workers, *dispatcher.out])
        dispatcher.log.end()


class _Dispatcher(Generic[T, W]):
    """One `map`. Tasks wait until a worker is open and idle, so whichever is free first takes the next one."""

    def __init__(self, backend: Backend[W], tasks: Iterator[Task[T]], on_progress: Progress) -> None:
        self.workers: list[W] = []
        # Workers that cannot open the stage. They keep their places, and an actor its GPU: the next one there would get
        # what may be broken.
        self.out: dict[W, Exception] = {}
        # Who is open and holds no task, in the order in which they became free, and who holds one; the others of
        # `workers` are about to open. Kept, since a message must not cost more where there are a thousand workers.
        self._idle: dict[W, None] = {}
        self._busy: set[W] = set()
        self.log = WorkerLog(self.workers)
        self._backend = backend
        self._tasks = tasks
        self._on_progress = on_progress
        self._waiting: deque[Task[T]] = deque()
        self._done: deque[Outcome[T, Any]] = deque()
        self._deaths_at_start: Counter[str] = Counter()
        self._is_any_finished = False

    def outcomes(self) -> Generator[Outcome[T, Any], None, None]:
        self._hand_out()
        while self._done or self._waiting or self._busy:
            while self._done:
                yield self._done.popleft()
            if self._busy or (self._waiting and not self._idle):
                for worker, message in self._backend.listen(self.workers):
                    self._hear(worker, message)
                self.log.look()
            # Before the outcomes are yielded: no worker should be idle while the caller looks at them.
            self._hand_out()

    def _hand_out(self) -> None:
        limit = self._backend.workers
        # A task that waits for a worker to start counts as taken: `tasks` is read lazily.
        free = limit - len(self._busy)
        while len(self._waiting) < free and (task := next(self._tasks, None)) is not None:
            self._waiting.append(task)
        while self._waiting and self._idle:
            self._give(next(iter(self._idle)), self._waiting.popleft())
        self._start_workers()

    def _start_workers(self) -> None:
        opening = len(self.workers) - len(self._idle) - len(self._busy)
        for _ in range(len(self._waiting) - opening):
            worker = self._backend.start([*self.workers, *self.out])
            if worker is not None:
                self.workers.append(worker)
            elif self.out and not self.workers:
                raise cannot_open(list(self.out.values()), self._is_any_finished)
            else:
                return

    def _give(self, worker: W, task: Task[T]) -> None:
        try:
            pickled_task = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note(f"{task} cannot be sent to a worker: it does not pickle")
            self._done.append(Outcome(task, error=error))
            return
        del self._idle[worker]
        self._busy.add(worker)
        worker.task = task
        worker.reported.clear()
        self.log.given(worker)
        worker.give(pickled_task)

    def _hear(self, worker: W, message: bytes | Loss) -> None:
        if isinstance(message, Loss):
            self._lost(worker, message)
            return
        match kind_of(message):
            case Kind.READY:
                worker.is_open = True
                self._idle[worker] = None
                self.log.opened(worker)
                self._deaths_at_start.pop(worker.node_id, None)
            case Kind.OPEN_FAILED:
                self._cannot_work(worker, failure_in(message).revive())
            case Kind.PROGRESS:
                self._progress(worker, body_of(message))
            case Kind.VALUE | Kind.FAILURE:
                self._finished(worker, message)

    def _progress(self, worker: W, increments: Mapping[str, int]) -> None:
        worker.reported.update(increments)
        if done := self.log.progress(worker, increments):
            self._on_progress(done)

    def _finished(self, worker: W, message: bytes) -> None:
        assert worker.task is not None
        self.log.finished(worker, worker.task)
        outcome: Outcome[T, Any] = outcome_in(worker.task, message)
        self._done.append(outcome)
        if outcome.error is not None:
            _log.debug("%s failed on %s", worker.task, worker.place, exc_info=outcome.error)
        self._deaths_at_start.clear()
        self._is_any_finished = True
        worker.task = None
        self._busy.remove(worker)
        self._idle[worker] = None

    def _lost(self, worker: W, loss: Loss) -> None:
        self.workers.remove(worker)
        self._idle.pop(worker, None)
        self._busy.discard(worker)
        self.log.gone(worker)
        worker.kill()
        if worker.task is not None:
            self._take_back(worker.reported)
            self._lost_with(worker, worker.task, loss)
        elif not worker.is_open:
            self._lost_at_start(worker, loss)

    def _take_back(self, reported: Mapping[str, int]) -> None:
        # What was used for it is used all the same.
        increments = {name: -count for name, count in reported.items() if count and name not in USAGE}
        if increments:
            self._on_progress(increments)

    def _lost_with(self, worker: W, task: Task[T], loss: Loss) -> None:
        match loss.kind:
            case Lost.ANNOUNCED_NODE:
                self._tell("preempted", f"{loss.cause}: {task} goes on elsewhere", worker, loss, task=task.name)
                self._waiting.appendleft(task)
                return
            case Lost.NODE:
                task = replace(task, node_losses=task.node_losses + 1)
                number, limit = task.node_losses, MAX_NODE_LOSSES
            case _:
                task = replace(task, attempt=task.attempt + 1)
                number, limit = task.attempt, MAX_ATTEMPTS
        text = f"a worker was lost ({loss.cause}) in {task}, loss {number} of {limit}"
        self._tell("worker_lost", text, worker, loss, task=task.name, number=number, limit=limit)
        if number < limit:
            self._waiting.appendleft(task)
        else:
            error = given_up(task, loss.cause, loss.advice, nodes=loss.kind is Lost.NODE)
            self.log.note("task_given_up", str(error), task=task.name)
            self._done.append(Outcome(task, error=error, lost=True))

    def _tell(self, kind: str, text: str, worker: W, loss: Loss, **facts: Any) -> None:
        _log.warning("%s", text)
        self.log.note(kind, text, worker=worker.place, cause=loss.cause, what=loss.kind.name.lower(), **facts)

    def _lost_at_start(self, worker: W, loss: Loss) -> None:
        self._tell("worker_lost", f"a worker was lost ({loss.cause}) while it started", worker, loss)
        if loss.kind in (Lost.NODE, Lost.ANNOUNCED_NODE):
            return  # of that worker it says nothing
        self._deaths_at_start[worker.node_id] += 1
        deaths = self._deaths_at_start[worker.node_id]
        if deaths >= MAX_DEATHS_AT_START or loss.kind is Lost.NEVER_STARTED:
            self._cannot_work(worker, dead_at_start(deaths, loss.cause, loss.advice))

    def _cannot_work(self, worker: W, error: Exception) -> None:
        """Do without this worker, unless its failure says that no other can work either."""
        if worker in self.workers:
            self.workers.remove(worker)
        self.log.gone(worker)
        self.out[worker] = error
        nodes = {other.node_id for other, other_error in self.out.items() if are_alike(error, other_error)}
        if len(nodes) > 1:
            raise cannot_open(list(self.out.values()), self._is_any_finished)
        self._start_workers()
        text = f"{worker.place} cannot work and is left out, others go on: {summary_of(error)}"
        _log.warning("%s", text)
        _log.debug("why %s cannot work", worker.place, exc_info=error)
        self.log.note("worker_left_out", text, worker=worker.place)
