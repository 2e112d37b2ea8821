"""What runs inside a spawned worker process."""

import os
import pickle
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import connection, parent_process
from typing import Any

from curator.errors import CuratorError
from curator_pipelines.executors.failures import Failure
from curator_pipelines.executors.messages import Kind, encode
from curator_pipelines.executors.protocol import Stage, Task, WorkerContext
from curator_pipelines.executors.threads import prepare_threads
from curator_pipelines.executors.usage import Meter

__all__ = ["answer", "work"]

# Seconds between progress messages: a stage may report every sample without keeping the driver busy.
REPORT_EVERY = 0.1


def work(pipe: connection.Connection, cpus: int, device: str) -> None:
    """Open the stage that the driver sends, then answer its tasks until it hangs up."""
    _leave_interrupts_to_driver()
    _die_with_driver()
    # The stage comes by message and is unpickled below: what it imports reads these variables on import.
    prepare_threads(cpus)
    with suppress(EOFError, OSError):
        _serve(_Link(pipe), cpus, device)


def _leave_interrupts_to_driver() -> None:
    """Ignore Ctrl-C: a terminal sends it to the whole process group, and only the driver knows what to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _die_with_driver() -> None:
    driver = parent_process()
    assert driver is not None
    threading.Thread(target=_exit_after, args=(driver.sentinel,), name="driver-watch", daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


class _Link:
    """The worker's end of the pipe; threads of a stage may report through it at the same time."""

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._unsent: Counter[str] = Counter()
        self._next_report = 0.0

    def receive(self) -> bytes:
        return self._pipe.recv_bytes()

    def report(self, increments: Mapping[str, int]) -> None:
        with self._lock:
            self._unsent.update(increments)
            if time.monotonic() >= self._next_report:
                self._flush()

    def send(self, message: memoryview) -> None:
        with self._lock:
            self._flush()
            self._pipe.send_bytes(message)

    def _flush(self) -> None:
        if self._unsent:
            self._pipe.send_bytes(encode(Kind.PROGRESS, dict(self._unsent)))
            self._unsent.clear()
            self._next_report = time.monotonic() + REPORT_EVERY


def _serve(link: _Link, cpus: int, device: str) -> None:
    link.send(encode(Kind.STARTED))
    pickled_stage = link.receive()
    meter = Meter(link.report)
    try:
        stage: Stage[Any, Any] = pickle.loads(pickled_stage)
        handle = stage.open(WorkerContext(cpus, device, meter))
    except BaseException as error:
        link.send(encode(Kind.OPEN_FAILED, Failure.of(error)))
        return
    link.send(encode(Kind.READY))
    while True:
        link.send(answer(handle, link.receive(), meter))


def answer(handle: Callable[[Task[Any]], Any], pickled_task: bytes, meter: Meter) -> memoryview:
    """Handle a task and return the message to send: its value, or its failure, whatever the stage raised.

    What was used for it is told by the meter before that.
    """
    message = _answer(handle, pickled_task)
    meter.flush()
    return message


def _answer(handle: Callable[[Task[Any]], Any], pickled_task: bytes) -> memoryview:
    try:
        task = pickle.loads(pickled_task)
        value = handle(task)
    except BaseException as error:
        return encode(Kind.FAILURE, Failure.of(error))
    try:
        return encode(Kind.VALUE, value)
    except Exception as error:
        unsendable = CuratorError(f"{task}: its result cannot be pickled: {error}")
        return encode(Kind.FAILURE, Failure.of(unsendable))
