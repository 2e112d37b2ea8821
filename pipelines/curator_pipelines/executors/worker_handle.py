"""The driver's side of one worker process."""

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

from curator.io.main_module import main_module_hidden
from curator_pipelines.executors.protocol import Task
from curator_pipelines.executors.worker import work

__all__ = ["WorkerHandle"]

LEAVE_SECONDS = 10.0
"""How long a worker that was told to end, or hung up by itself, may take before it is killed."""

T = TypeVar("T")

_context = multiprocessing.get_context("spawn")


class WorkerHandle(Generic[T]):
    """A place for one worker process after another, each on the same device.

    Args:
        pickled_stage: what every worker opens.
        cpus: threads of a worker.
        device: device of a worker.
    """

    def __init__(self, pickled_stage: bytes, cpus: int, device: str) -> None:
        self._pickled_stage = pickled_stage
        self._cpus = cpus
        self._device = device
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._waiting: bytes | None = None
        self.task: Task[T] | None = None
        self.is_open = False
        self.reported: Counter[str] = Counter()

    @property
    def is_alive(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._process is not None and self._process.is_alive()

    @property
    def waitables(self) -> tuple[Connection | int, ...]:
        """What becomes ready when the worker says something or ends."""
        assert self._process is not None
        assert self._pipe is not None
        return self._pipe, self._process.sentinel

    def give(self, task: Task[T], pickled_task: bytes) -> None:
        """Hand a task to the worker; start one if there is none. A loss shows in `receive`."""
        if not self.is_alive:
            self.kill()
            self._start()
        self.task = task
        self.reported.clear()
        if self.is_open:
            self._send(pickled_task)
        else:
            # Sent before the worker reads, a big task would hold up the driver until the worker has opened.
            self._waiting = pickled_task

    def send_stage(self) -> None:
        """Answer a worker that has started."""
        self._send(self._pickled_stage)

    def opened(self) -> None:
        """Answer a worker that has opened the stage."""
        self.is_open = True
        if self._waiting is not None:
            self._send(self._waiting)
            self._waiting = None

    def receive(self) -> bytes | None:
        """Return the worker's next message, or None if it is lost. One of `waitables` must be ready."""
        assert self._pipe is not None
        try:
            # A worker may have said its last word before it ended: what is in the pipe counts.
            return self._pipe.recv_bytes() if self._pipe.poll() else None
        except (EOFError, OSError):
            return None

    def bury(self) -> str:
        """Clear up after a lost worker and say what ended it."""
        assert self._process is not None
        _wait_for(self._process)
        exit_code = self._process.exitcode
        self.kill()
        return "hanging up" if exit_code is None else _cause(exit_code)

    def hang_up(self) -> None:
        """Tell the worker, which holds no task, that no more will come."""
        if self._pipe is not None:
            self._pipe.close()

    def leave(self) -> None:
        """Wait for the end of a worker that was hung up on."""
        if self._process is not None:
            _wait_for(self._process)
        self.kill()

    def signal_kill(self) -> None:
        """Kill the worker without waiting for its end."""
        if self._process is not None:
            self._process.kill()

    def kill(self) -> None:
        """Kill the worker, wait for its end and free the slot."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = self._waiting = self.task = None
        self.is_open = False

    def _start(self) -> None:
        self._pipe, workers_end = _context.Pipe()
        # Daemonic: a driver that ends without closing the executor's generator takes its workers along.
        process = _context.Process(
            target=work, args=(workers_end, self._cpus, self._device), name="curator-worker", daemon=True
        )
        try:
            # Only a stage of the main module itself needs that module in the worker.
            with _interrupts_held(), nullcontext() if b"__main__" in self._pickled_stage else main_module_hidden():
                process.start()
        finally:
            # Held open here, it would hide the worker's death.
            workers_end.close()
        self._process = process

    def _send(self, data: bytes) -> None:
        assert self._pipe is not None
        with suppress(OSError):
            self._pipe.send_bytes(data)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait while a process starts.

    The child inherits the mask, so that it does not die with a traceback before it can ignore the signal.
    """
    resource_tracker.ensure_running()  # on its first start it would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for(process: SpawnProcess) -> None:
    # Not join: it trusts the sentinel, and waits forever for a worker that closed its files and lives on.
    deadline = time.monotonic() + LEAVE_SECONDS
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
