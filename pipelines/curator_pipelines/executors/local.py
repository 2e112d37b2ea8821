"""The local executor: spawned worker processes on this machine.

Processes, so that a crash in native code costs a worker and not the run. Spawned, because a fork of a process
that has used CUDA or threads is broken.
"""

import os
import pickle
from collections.abc import Generator, Iterable, Iterator, Sequence
from multiprocessing import connection
from typing import Any, TypeVar

from curator.types import Progress
from curator_pipelines.executors.dispatcher import Loss, dispatch
from curator_pipelines.executors.local_handle import ProcessHandle
from curator_pipelines.executors.messages import Kind, kind_of
from curator_pipelines.executors.protocol import Outcome, Stage, Task, as_tasks

__all__ = ["LocalExecutor", "usable_cpus"]

# A wait for messages ends after this many seconds, so that the processes themselves are looked at.
LISTEN_SECONDS = 1.0

T = TypeVar("T")
R = TypeVar("R")


class LocalExecutor:
    """Runs stages in spawned processes of this machine.

    A program needs no guard, unless the stage is a class of its main module: only then do workers import it again.

    Args:
        workers: number of processes; one per device unless given.
        devices: handed out to the workers in turn.
        cpus: threads for all workers together; as many as the cores this process may use unless given.
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
        devices = "" if set(self.devices) == {"cpu"} else f", on {', '.join(self.devices)}"
        return f"{workers}, {threads}{each}{devices}"

    def map(
        self, stage: Stage[T, R], tasks: Iterable[T | Task[T]], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[T, R], None, None]:
        """Run `stage` over `tasks`; see `Executor.map`."""
        processes = _Processes(self, pickle.dumps(stage, protocol=pickle.HIGHEST_PROTOCOL))
        yield from dispatch(processes, as_tasks(tasks), on_progress)


class _Processes:
    """Worker processes that open one stage: the dispatcher's backend.

    Args:
        executor: says how many workers there are, and on which devices.
        pickled_stage: what every worker opens.
    """

    def __init__(self, executor: LocalExecutor, pickled_stage: bytes) -> None:
        self._executor = executor
        self._pickled_stage = pickled_stage

    @property
    def workers(self) -> int:
        return self._executor.workers

    def start(self, workers: Sequence[ProcessHandle]) -> ProcessHandle | None:
        numbers = {worker.number for worker in workers}
        # The lowest free number, so that a new worker gets the device of the one that it replaces.
        number = next((number for number in range(self.workers) if number not in numbers), None)
        if number is None:
            return None
        device = self._executor.devices[number % len(self._executor.devices)]
        handle = ProcessHandle(number, self._pickled_stage, self._executor.cpus_per_worker, device)
        if device.startswith("cuda"):
            handle.gpus = min(1.0, len(self._executor.devices) / self.workers)
        return handle

    def listen(self, workers: Sequence[ProcessHandle]) -> Iterator[tuple[ProcessHandle, bytes | Loss]]:
        owners: dict[Any, ProcessHandle] = {waitable: worker for worker in workers for waitable in worker.waitables}
        ready = [owners[waitable] for waitable in connection.wait(owners, LISTEN_SECONDS)]
        # A process that a worker forked holds all of its descriptors open, and so hides its death.
        dead = [worker for worker in workers if not worker.is_alive]
        # A worker owns two waitables and both may be ready: each worker is heard once, in order.
        for worker in dict.fromkeys(ready + dead):
            message = worker.receive()
            if message is None:
                cause = worker.wait_for_end()
                yield worker, Loss(cause, _advice(cause))
            elif kind_of(message) is Kind.STARTED:
                worker.send_stage()
            else:
                yield worker, message

    def dismiss(self, workers: Sequence[ProcessHandle]) -> None:
        # All are told first, so that they end at the same time.
        for worker in workers:
            worker.hang_up()
        for worker in workers:
            worker.wait_for_end()

    def kill(self, workers: Sequence[ProcessHandle]) -> None:
        for worker in workers:
            worker.send_kill()
        for worker in workers:
            worker.kill()


def _advice(cause: str) -> str:
    if cause == "SIGKILL":
        return "if the system ran out of memory, use fewer workers or smaller batches"
    return "the messages of the workers themselves are above"


def usable_cpus() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
