"""The local executor: spawned worker processes on this machine.

Processes, so that a crash in native code costs a worker and not the run. Spawned, because a fork of a process
that has used CUDA or threads is broken.
"""

import logging
import os
import pickle
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from curator.types import Progress
from curator_pipelines.executors.failures import dead_at_start, given_up
from curator_pipelines.executors.messages import Kind, body_of, failure_in, kind_of, outcome_in
from curator_pipelines.executors.protocol import (
    MAX_ATTEMPTS,
    MAX_DEATHS_AT_START,
    Outcome,
    Stage,
    Task,
    as_tasks,
    no_progress,
)
from curator_pipelines.executors.worker_handle import WorkerHandle

__all__ = ["LocalExecutor", "usable_cpus"]

LOOK_AGAIN_SECONDS = 1.0
"""When nothing was heard for so long, the workers' processes are looked at themselves."""

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class LocalExecutor:
    """Runs stages in spawned processes of this machine.

    A program needs no guard, unless the stage is a class of its main module: only then do workers import it again.

    Args:
        workers: number of processes; one per device unless given.
        devices: handed out to the workers in turn.
        cpus: threads for all workers together; the cores this process may run on unless given.
    """

    def __init__(self, workers: int | None = None, devices: Sequence[str] = ("cpu",), cpus: int | None = None) -> None:
        if not devices:
            raise ValueError("devices is empty: name at least one, such as 'cpu'")
        self.workers = len(devices) if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"workers is {workers}: at least 1 is needed")
        self.devices = tuple(devices)
        self.cpus_per_worker = max(1, (usable_cpus() if cpus is None else cpus) // self.workers)

    def describe(self) -> str:
        """Say for people where the work runs."""
        workers = "1 worker process" if self.workers == 1 else f"{self.workers} worker processes"
        threads = "1 thread" if self.cpus_per_worker == 1 else f"{self.cpus_per_worker} threads"
        each = "" if self.workers == 1 else " each"
        on = "" if set(self.devices) == {"cpu"} else f", on {', '.join(self.devices)}"
        return f"{workers}, {threads}{each}{on}"

    def map(
        self, stage: Stage[T, R], tasks: Iterable[T | Task[T]], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[T, R], None, None]:
        """Run `stage` over `tasks`; see `Executor.map`."""
        pickled_stage = pickle.dumps(stage, protocol=pickle.HIGHEST_PROTOCOL)
        slots: list[WorkerHandle[T]] = [
            WorkerHandle(pickled_stage, self.cpus_per_worker, self.devices[i % len(self.devices)])
            for i in range(self.workers)
        ]
        try:
            yield from _Run[T, R](slots, as_tasks(tasks), on_progress or no_progress).outcomes()
            _dismiss(slots)
        finally:
            _kill(slots)


class _Run(Generic[T, R]):
    """One `map`: tasks go to free slots, messages of the workers become outcomes."""

    def __init__(self, slots: list[WorkerHandle[T]], tasks: Iterator[Task[T]], on_progress: Progress) -> None:
        self._slots = slots
        self._tasks = tasks
        self._again: deque[Task[T]] = deque()
        self._done: deque[Outcome[T, R]] = deque()
        self._on_progress = on_progress
        self._deaths_at_start = 0

    def outcomes(self) -> Generator[Outcome[T, R], None, None]:
        self._hand_out()
        while self._done or self._busy():
            while self._done:
                yield self._done.popleft()
            for slot in self._speaking():
                self._hear(slot)
            # Before the outcomes are handed over: workers should not idle while the caller looks at them.
            self._hand_out()

    def _busy(self) -> list[WorkerHandle[T]]:
        return [slot for slot in self._slots if slot.task is not None]

    def _hand_out(self) -> None:
        free = [slot for slot in self._slots if slot.task is None]
        # Open workers first: no new process is started while an old one could do it.
        for slot in sorted(free, key=lambda slot: not slot.is_alive):
            task = self._again.popleft() if self._again else next(self._tasks, None)
            if task is None:
                return
            self._give(slot, task)

    def _give(self, slot: WorkerHandle[T], task: Task[T]) -> None:
        try:
            pickled_task = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            error.add_note(f"{task} cannot be sent to a worker: it does not pickle")
            self._done.append(Outcome(task, error=error))
        else:
            slot.give(task, pickled_task)

    def _speaking(self) -> list[WorkerHandle[T]]:
        owners: dict[Any, WorkerHandle[T]] = {waitable: slot for slot in self._busy() for waitable in slot.waitables}
        if not owners:
            return []
        ready = connection.wait(owners, LOOK_AGAIN_SECONDS)
        if not ready:
            # A process that a worker forked holds all of its descriptors open, and so hides its death.
            return [slot for slot in self._busy() if not slot.is_alive]
        # A slot owns two waitables and both may be ready: each slot once, in order.
        return list(dict.fromkeys(owners[waitable] for waitable in ready))

    def _hear(self, slot: WorkerHandle[T]) -> None:
        message = slot.receive()
        if message is None:
            self._lost(slot)
            return
        match kind_of(message):
            case Kind.STARTED:
                slot.send_stage()
            case Kind.READY:
                slot.opened()
            case Kind.OPEN_FAILED:
                raise failure_in(message).revive()
            case Kind.PROGRESS:
                increments = body_of(message)
                slot.reported.update(increments)
                self._on_progress(increments)
            case Kind.VALUE | Kind.FAILURE:
                self._finished(slot, message)

    def _finished(self, slot: WorkerHandle[T], message: bytes) -> None:
        assert slot.task is not None
        self._done.append(outcome_in(slot.task, message))
        self._deaths_at_start = 0
        slot.task = None

    def _lost(self, slot: WorkerHandle[T]) -> None:
        task, was_open = slot.task, slot.is_open
        assert task is not None
        cause = slot.bury()
        self._take_back(slot)
        if was_open:
            self._lost_with(replace(task, attempt=task.attempt + 1), cause)
        else:
            self._lost_at_start(cause)
            self._again.append(task)

    def _take_back(self, slot: WorkerHandle[T]) -> None:
        if slot.reported:
            self._on_progress({name: -count for name, count in slot.reported.items()})
            slot.reported.clear()

    def _lost_with(self, task: Task[T], cause: str) -> None:
        _log.warning("a worker was lost (%s) in %s, loss %d of %d", cause, task, task.attempt, MAX_ATTEMPTS)
        if task.attempt < MAX_ATTEMPTS:
            self._again.append(task)
        else:
            self._done.append(Outcome(task, error=given_up(task, cause), lost=True))

    def _lost_at_start(self, cause: str) -> None:
        self._deaths_at_start += 1
        _log.warning("a worker was lost (%s) while it started", cause)
        if self._deaths_at_start >= MAX_DEATHS_AT_START:
            raise dead_at_start(self._deaths_at_start, cause)


def _dismiss(slots: list[WorkerHandle[T]]) -> None:
    # All are told first: they end side by side.
    for slot in slots:
        slot.hang_up()
    for slot in slots:
        slot.leave()


def _kill(slots: list[WorkerHandle[T]]) -> None:
    for slot in slots:
        slot.signal_kill()
    for slot in slots:
        slot.kill()


def usable_cpus() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
