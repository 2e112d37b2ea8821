"""What can be seen of the workers while they work, for whoever watches a run.

The dispatcher keeps a `WorkerLog`. It costs nothing where nobody watches, and it decides nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from curator_pipelines.executors.usage import USAGE, add_usage

if TYPE_CHECKING:
    from curator_pipelines.executors.dispatcher import WorkerHandle
    from curator_pipelines.executors.protocol import Task

__all__ = ["TaskEnd", "Watcher", "WorkerLog", "WorkerState", "note_event", "watched_by"]

# Seconds between two counts of the GPUs that are held.
COUNT_EVERY = 1.0


@dataclass(frozen=True)
class WorkerState:
    """One worker, as the driver sees it now.

    Attributes:
        name: where it works, for people: `worker 0 (cuda:0)`, `a worker on 10.0.0.7`.
        state: `starting` (it waits for its place, or opens its stage), `working` or `idle`.
        task: what it works on; empty where it has none.
        seconds: how long it has been in that state, or has had that task.
        silent: how long nothing was heard of it.
        finished: how many tasks it has finished.
        done: what it has reported since it opened, by what is counted.
        open_seconds: how long it has been open; 0 where it is not.
    """

    name: str
    state: str
    task: str
    seconds: float
    silent: float
    finished: int
    done: Mapping[str, int]
    open_seconds: float


@dataclass(frozen=True)
class TaskEnd:
    """A task that a worker has finished, well or not: what it was, how long it took, and what was reported for it."""

    task: str
    worker: str
    seconds: float
    done: Mapping[str, int]


class Watcher(Protocol):
    """Who watches."""

    def look(self, workers: Callable[[], list[WorkerState]]) -> None:
        """Called often while workers work. `workers` says how they are, if that is wanted just now."""

    def note(self, kind: str, text: str, **facts: Any) -> None:
        """Something happened: its kind in a word, in words for people, and in facts for machines."""

    def ended(self, end: TaskEnd) -> None:
        """A task was finished."""


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """While the block runs, whatever executors do in this context is told to the watcher."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def note_event(kind: str, text: str, **facts: Any) -> None:
    """Tell whoever watches in this context that something happened; see `Watcher.note`."""
    if watcher := _watcher.get():
        watcher.note(kind, text, **facts)


@dataclass
class _Seen:
    """What is known of one worker; times as `time.monotonic`."""

    since: float
    heard: float
    opened: float | None = None
    counted: float = 0.0
    finished: int = 0
    done: Counter[str] = field(default_factory=Counter)
    of_task: Counter[str] = field(default_factory=Counter)


class WorkerLog:
    """What the workers of one `map` do.

    Args:
        workers: those that the dispatcher has now; the same list, as it changes.
    """

    def __init__(self, workers: Sequence[WorkerHandle]) -> None:
        self._workers = workers
        self._watcher = _watcher.get()
        self._seen: dict[WorkerHandle, _Seen] = {}
        self._counted = time.monotonic()

    def opened(self, worker: WorkerHandle) -> None:
        """A worker can take tasks."""
        seen = self._heard(worker)
        seen.opened = seen.counted = seen.since = seen.heard

    def given(self, worker: WorkerHandle) -> None:
        """A worker got a task."""
        seen = self._of(worker)
        seen.since = seen.heard = time.monotonic()
        seen.of_task.clear()

    def progress(self, worker: WorkerHandle, increments: Mapping[str, int]) -> dict[str, int]:
        """A worker reported; returns the progress without what was used for it."""
        seen = self._heard(worker)
        add_usage(increments)
        done = {name: count for name, count in increments.items() if name not in USAGE}
        seen.done.update(done)
        seen.of_task.update(done)
        return done

    def finished(self, worker: WorkerHandle, task: Task[Any]) -> None:
        """A worker has finished its task."""
        seen = self._heard(worker)
        if self._watcher:
            self._watcher.ended(TaskEnd(task.name, worker.place, seen.heard - seen.since, dict(seen.of_task)))
        seen.since = seen.heard
        seen.finished += 1

    def gone(self, worker: WorkerHandle) -> None:
        """A worker has ended, or will get no task any more."""
        seen = self._seen.pop(worker, None)
        if seen is not None:
            self._count_gpus(worker, seen)

    def end(self) -> None:
        """All workers have ended."""
        for worker in list(self._seen):
            self.gone(worker)

    def look(self) -> None:
        """Time has passed. Called after every wait, so it must not cost more where there are more workers."""
        now = time.monotonic()
        if now - self._counted >= COUNT_EVERY:
            self._counted = now
            for worker, seen in self._seen.items():
                self._count_gpus(worker, seen)
        if self._watcher:
            self._watcher.look(self._states)

    def note(self, kind: str, text: str, **facts: Any) -> None:
        """Something happened; see `Watcher.note`."""
        if self._watcher:
            self._watcher.note(kind, text, **facts)

    def _count_gpus(self, worker: WorkerHandle, seen: _Seen) -> None:
        """A GPU is used for as long as an open worker holds it, whatever that does."""
        if worker.gpus and seen.opened is not None:
            now = time.monotonic()
            milliseconds = int(1000 * worker.gpus * (now - seen.counted))
            if milliseconds:
                add_usage({"gpu_ms": milliseconds})
                seen.counted = now

    def _of(self, worker: WorkerHandle) -> _Seen:
        now = time.monotonic()
        return self._seen.setdefault(worker, _Seen(now, now))

    def _heard(self, worker: WorkerHandle) -> _Seen:
        seen = self._of(worker)
        seen.heard = time.monotonic()
        return seen

    def _states(self) -> list[WorkerState]:
        now = time.monotonic()
        return [self._state(worker, self._of(worker), now) for worker in self._workers]

    @staticmethod
    def _state(worker: WorkerHandle, seen: _Seen, now: float) -> WorkerState:
        state = "starting" if not worker.is_open else "idle" if worker.task is None else "working"
        return WorkerState(
            worker.place,
            state,
            "" if worker.task is None else worker.task.name,
            now - seen.since,
            now - seen.heard,
            seen.finished,
            dict(seen.done),
            0.0 if seen.opened is None else now - seen.opened,
        )
