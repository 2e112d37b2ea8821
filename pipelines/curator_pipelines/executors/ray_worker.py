"""What runs inside a Ray actor."""

from __future__ import annotations

import pickle
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from curator_pipelines.executors.failures import Failure
from curator_pipelines.executors.messages import Kind, encode
from curator_pipelines.executors.protocol import Stage, Task, WorkerContext
from curator_pipelines.executors.threads import prepare_threads
from curator_pipelines.executors.usage import Meter
from curator_pipelines.executors.worker import answer

__all__ = ["RayWorker"]


class RayWorker:
    """Opens a stage once, then answers one task after another.

    The driver asks for progress and gets the total since the task began, so a question or an answer that is lost
    changes nothing.
    """

    def __init__(self) -> None:
        # Ray's handlers run in the main thread, which waits in native code while tasks have a thread of their own.
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._lock = threading.Lock()
        self._reported: Counter[str] = Counter()
        self._serial = -1
        self._meter = Meter(self._report)

    def open(self, pickled_stage: bytes, cpus: int, device: str) -> bytes:
        """Build the stage's state and return READY or OPEN_FAILED."""
        # The stage comes pickled: what it imports reads these variables on import.
        prepare_threads(cpus)
        try:
            stage: Stage[Any, Any] = pickle.loads(pickled_stage)
            self._handle: Callable[[Task[Any]], Any] = stage.open(WorkerContext(cpus, device, self._meter))
        except BaseException as error:
            return bytes(encode(Kind.OPEN_FAILED, Failure.of(error)))
        return bytes(encode(Kind.READY))

    def work(self, serial: int, pickled_task: bytes) -> tuple[bytes, dict[str, int]]:
        """Handle a task and return VALUE or FAILURE, with all the progress that the task made.

        Args:
            serial: the driver's number of this attempt.
            pickled_task: the task.
        """
        with self._lock:
            self._serial = serial
            self._reported = Counter()
        message = bytes(answer(self._handle, pickled_task, self._meter))
        return message, self.progress()[1]

    def progress(self) -> tuple[int, dict[str, int]]:
        """The serial of the running attempt, and its progress so far."""
        with self._lock:
            return self._serial, dict(self._reported)

    def _report(self, increments: Mapping[str, int]) -> None:
        with self._lock:
            self._reported.update(increments)
