"""What runs inside a Ray actor."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
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

# A process that was told to end by SIGTERM ends after so many seconds; before, the driver takes its task back.
LEAVE_SECONDS = 5.0


class RayWorker:
    """Opens a stage once, then answers one task after another.

    The driver asks for progress and gets the total since the task began, so a question or an answer that is lost
    changes nothing.

    Args:
        label: says for people in Ray's dashboard what this is; two runs may have the same.
    """

    def __init__(self, label: str = "") -> None:
        self._label = label
        self._lock = threading.Lock()
        self._reported: Counter[str] = Counter()
        self._serial = -1
        self._meter = Meter(self._report)
        self._is_leaving = False
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._watch_for_sigterm()

    def _watch_for_sigterm(self) -> None:
        # A handler would run in the main thread, which waits in native code while tasks have a thread of their own.
        # What the signal writes into a pipe is there at once.
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._leave_at_sigterm, args=(reading,), name="sigterm", daemon=True).start()

    def _leave_at_sigterm(self, reading: int) -> None:
        while signal.SIGTERM not in os.read(reading, 64):
            pass
        self._is_leaving = True
        time.sleep(LEAVE_SECONDS)
        os._exit(128 + signal.SIGTERM)

    def __repr__(self) -> str:
        return f"curator {self._label}".rstrip()

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

    def progress(self) -> tuple[int, dict[str, int], bool]:
        """The serial of the running attempt, its progress so far, and whether this process was told to end."""
        with self._lock:
            return self._serial, dict(self._reported), self._is_leaving

    def _report(self, increments: Mapping[str, int]) -> None:
        with self._lock:
            self._reported.update(increments)
