"""The driver's side of one worker process."""

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from curator.io import main_module_hidden
from curator_pipelines.executors.dispatcher import WorkerHandle
from curator_pipelines.executors.worker import work

__all__ = ["ProcessHandle"]

# A worker that was told to end, or that hung up by itself, is killed after this many seconds.
LEAVE_SECONDS = 10.0

_context = multiprocessing.get_context("spawn")


class ProcessHandle(WorkerHandle):
    """One worker process; it is started at once.

    Args:
        number: the worker's number among those that run at the same time.
        pickled_stage: what it opens.
        cpus: its threads.
        device: its device.
    """

    def __init__(self, number: int, pickled_stage: bytes, cpus: int, device: str) -> None:
        super().__init__("this machine", f"worker {number} ({device})")
        self.number = number
        self._pickled_stage = pickled_stage
        self._is_closed = False
        self._pipe, self._process = _start(pickled_stage, cpus, device)

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.is_alive()

    @property
    def waitables(self) -> tuple[Connection | int, ...]:
        """What becomes ready when the worker sends a message or ends."""
        return self._pipe, self._process.sentinel

    def give(self, pickled_task: bytes) -> None:
        """Send a task to the worker. A loss shows in `receive`."""
        self._send(pickled_task)

    def send_stage(self) -> None:
        """Answer a worker that has started."""
        self._send(self._pickled_stage)

    def receive(self) -> bytes | None:
        """Return the worker's next message, or None if it is lost. One of `waitables` must be ready."""
        try:
            # A worker may have sent a last message before it ended: what is in the pipe counts.
            return self._pipe.recv_bytes() if self._pipe.poll() else None
        except (EOFError, OSError):
            return None

    def hang_up(self) -> None:
        """Tell the worker, which holds no task, that no more will come."""
        self._pipe.close()
        if not self.is_open:
            # It would find out only after it has opened the stage, which may take long.
            self._process.kill()

    def wait_for_end(self) -> str:
        """Wait for the end of a worker that hung up or was hung up on, and return the cause of its end."""
        # Not join: it trusts the sentinel, and waits forever for a worker that closed its files and lives on.
        deadline = time.monotonic() + LEAVE_SECONDS
        while self._process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        exit_code = self._process.exitcode
        return "hanging up" if exit_code is None else _cause(exit_code)

    def send_kill(self) -> None:
        """Kill the worker without waiting for its end."""
        if not self._is_closed:
            self._process.kill()

    def kill(self) -> None:
        """Kill the worker and wait for its end."""
        if not self._is_closed:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._pipe.close()
            self._is_closed = True

    def _send(self, data: bytes) -> None:
        with suppress(OSError):
            self._pipe.send_bytes(data)


def _start(pickled_stage: bytes, cpus: int, device: str) -> tuple[Connection, SpawnProcess]:
    drivers_end, workers_end = _context.Pipe()
    # Daemonic: a driver that ends without closing the executor's generator takes its workers along.
    process = _context.Process(target=work, args=(workers_end, cpus, device), name="curator-worker", daemon=True)
    try:
        # Only a stage of the main module itself needs that module in the worker.
        with _interrupts_held(), nullcontext() if b"__main__" in pickled_stage else main_module_hidden():
            process.start()
    except BaseException:
        drivers_end.close()
        raise
    finally:
        # Held open here, it would hide the worker's death.
        workers_end.close()
    return drivers_end, process


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


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"
