"""The process in which an external worker does its tasks, so that what crashes it costs a task and not the worker."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from multiprocessing import connection
from typing import Any

from curator.errors import CuratorError
from curator_pipelines.executors import (
    MAX_DEATHS_AT_START,
    Kind,
    Outcome,
    ProcessHandle,
    Task,
    body_of,
    dead_at_start,
    failure_in,
    kind_of,
    outcome_in,
    usable_cpus,
)
from curator_pipelines.external.answers import failure_of, lost, value
from curator_pipelines.external.claimed import ClaimedStage, ClaimedTask
from curator_pipelines.external.documents import Documents

__all__ = ["WorkerProcess"]

# A wait for a message ends after so many seconds, to see whether the claim has ended.
LISTEN_SECONDS = 0.5


class WorkerProcess:
    """One process that has opened a stage.

    Args:
        stage: what it opens.
        device: of its models.
        documents: writes its answers.

    Raises:
        Exception: what the stage raised when it was opened.
        CuratorError: the process died while it opened it, several times.
    """

    def __init__(self, stage: Any, device: str, documents: Documents) -> None:
        self._pickled_stage = pickle.dumps(ClaimedStage(stage), protocol=pickle.HIGHEST_PROTOCOL)
        self._device = device
        self._documents = documents
        self._handle: ProcessHandle | None = None
        for deaths in range(1, MAX_DEATHS_AT_START + 1):
            cause = self._open()
            if cause is None:
                return
            if deaths == MAX_DEATHS_AT_START:
                raise dead_at_start(deaths, cause, "the messages of the worker itself are above")

    @property
    def is_alive(self) -> bool:
        """Whether it can take another task."""
        return self._handle is not None

    def do(self, task: Task[ClaimedTask], has_ended: threading.Event) -> dict[str, Any] | None:
        """Do a task.

        Args:
            task: with its claim.
            has_ended: is set when the claim has ended; then the process is killed.

        Returns:
            the answer, with the progress that the task reported; None where the claim has ended.
        """
        handle = self._handle
        assert handle is not None
        handle.give(pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL))
        reported: Counter[str] = Counter()
        while True:
            message = self._receive(handle)
            if has_ended.is_set():
                self.kill()
                return None
            match message:
                case None:
                    continue
                case str(cause):
                    self.kill()
                    return lost(cause, "the messages of the worker itself are in its own output") | {
                        "reported": dict(reported)
                    }
            if kind_of(message) is Kind.PROGRESS:
                reported.update(body_of(message))
                continue
            outcome: Outcome[ClaimedTask, Any] = outcome_in(task, message)
            error = outcome.error
            if error is None:
                try:
                    return value(outcome.value, self._documents) | {"reported": dict(reported)}
                except (TypeError, CuratorError) as unsendable:
                    error = unsendable
            return failure_of(error, self._documents) | {"reported": dict(reported)}

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        if self._handle is not None:
            self._handle.kill()
            self._handle = None

    def _open(self) -> str | None:
        """Start a process and let it open the stage; returns the cause of its end if it dies of that."""
        self._handle = handle = ProcessHandle(0, self._pickled_stage, usable_cpus(), self._device)
        while True:
            message = self._receive(handle)
            if isinstance(message, str):
                self.kill()
                return message
            if message is None:
                continue
            match kind_of(message):
                case Kind.STARTED:
                    handle.send_stage()
                case Kind.OPEN_FAILED:
                    self.kill()
                    raise failure_in(message).revive()
                case Kind.READY:
                    return None

    @staticmethod
    def _receive(handle: ProcessHandle) -> bytes | str | None:
        """The next message; why the process ended, if it did; None if there is nothing yet."""
        if not connection.wait(handle.waitables, LISTEN_SECONDS) and handle.is_alive:
            return None
        message = handle.receive()
        return handle.wait_for_end() if message is None else message
