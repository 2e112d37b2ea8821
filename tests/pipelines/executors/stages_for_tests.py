"""Stages and helpers that worker processes import by name; test modules cannot be."""

import atexit
import fcntl
import gc
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from curator_pipelines.executors import Task, WorkerContext

# A test waits at most so many seconds; nothing that works takes nearly that long.
PATIENCE = 300.0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.01)


@dataclass
class Calls:
    """A stage that calls a module-level function with context and task."""

    function: Callable[[WorkerContext, Task[Any]], Any]

    def open(self, context: WorkerContext) -> Callable[[Task[Any]], Any]:
        return lambda task: self.function(context, task)


@dataclass
class OpensWith:
    """A stage whose `open` calls a module-level function, then hands payloads back."""

    function: Callable[[], Any]

    def open(self, context: WorkerContext) -> Callable[[Task[Any]], Any]:
        self.function()
        return lambda task: task.payload


# Values


def square(context: WorkerContext, task: Task[int]) -> int:
    return task.payload**2


def task_itself(context: WorkerContext, task: Task[Any]) -> Task[Any]:
    return task


def cpus_and_device(context: WorkerContext, task: Task[Any]) -> tuple[int, str, str | None]:
    return context.cpus, context.device, os.environ.get("OMP_NUM_THREADS")


def worker_pid(context: WorkerContext, task: Task[Any]) -> int:
    return os.getpid()


def many_bytes(context: WorkerContext, task: Task[int]) -> bytes:
    return bytes([task.number]) * task.payload


def length(context: WorkerContext, task: Task[bytes]) -> int:
    return len(task.payload)


def report_ones(context: WorkerContext, task: Task[int]) -> None:
    for _ in range(task.payload):
        context.report({"samples": 1, "bytes": 10})


class CountsOpens:
    """Every value is (process id, how often this process has opened the stage)."""

    opened = 0

    def open(self, context: WorkerContext) -> Callable[[Task[Any]], tuple[int, int]]:
        CountsOpens.opened += 1
        return lambda task: (os.getpid(), CountsOpens.opened)


def node_and_wait(context: WorkerContext, task: Task[tuple[Path, int]]) -> tuple[str, int]:
    """Name of the Ray node and its threads; waits until so many nodes are at work."""
    import ray

    folder, count = task.payload
    node = ray.get_runtime_context().get_node_id()
    (folder / node).touch()
    until(lambda: len(list(folder.iterdir())) >= count, "other nodes")
    return node, context.cpus


def meet(context: WorkerContext, task: Task[Path]) -> bool:
    """Wait until another task is running too."""
    (task.payload / str(task.number)).touch()
    until(lambda: len(list(task.payload.iterdir())) >= 2, "another task")
    return True


# Errors


class TwoArguments(Exception):
    """Pickles, and breaks when it is unpickled, as so many do."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} at {where}")


class HoldsLock(Exception):
    """Does not pickle."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


def fail_on_odd(context: WorkerContext, task: Task[int]) -> int:
    if task.payload % 2:
        raise ValueError(f"{task.payload} is odd")
    return task.payload


def raise_payload(context: WorkerContext, task: Task[tuple[type[BaseException], tuple[str, ...]]]) -> None:
    kind, arguments = task.payload
    raise kind(*arguments)


def lock_on_odd(context: WorkerContext, task: Task[int]) -> object:
    return threading.Lock() if task.payload % 2 else task.payload


def _refuse() -> object:
    raise RuntimeError("no way back")


class CannotUnpickle:
    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        return _refuse, ()


def one_way_on_odd(context: WorkerContext, task: Task[int]) -> object:
    return CannotUnpickle() if task.payload % 2 else task.payload


# Deaths


@dataclass(frozen=True)
class Deadly:
    """Work that takes its worker along on the first `deaths` attempts."""

    deaths: int
    how: str = "SIGKILL"


def die(how: str) -> None:
    if how == "abort":
        os.abort()
    elif how == "exit":
        os._exit(3)
    elif how == "half a message":
        _write_half_a_message()
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hang up":
        os.closerange(3, 256)
        threading.Event().wait()
    else:
        os.kill(os.getpid(), signal.Signals[how])
        threading.Event().wait()


def _write_half_a_message() -> None:
    for pipe in (thing for thing in gc.get_objects() if isinstance(thing, Connection) and thing.writable):
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"\x04half")


def survive(context: WorkerContext, task: Task[Deadly]) -> int:
    context.report({"samples": 5})
    if task.attempt < task.payload.deaths:
        die(task.payload.how)
    context.report({"samples": 5})
    return task.attempt


def survive_after_a_while(context: WorkerContext, task: Task[Deadly]) -> int:
    """As `survive`, slow enough for its progress to be heard of."""
    context.report({"samples": 5})
    time.sleep(0.8)
    if task.attempt < task.payload.deaths:
        die(task.payload.how)
    context.report({"samples": 5})
    return task.attempt


def die_beside_a_fork(context: WorkerContext, task: Task[Path]) -> str:
    """Die and leave a process behind that holds the worker's descriptors; the next attempt ends it."""
    lock, pid_file = task.payload / "fork.lock", task.payload / "pid"
    if task.attempt:
        survivors = list(holders(task.payload))
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        return f"outlived by {survivors}"
    fcntl.flock(os.open(lock, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(PATIENCE))
        signal.pause()
    pid_file.write_text(str(pid))
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def die_after_the_other(context: WorkerContext, task: Task[Path]) -> int:
    """Task 0 dies once, after the caller has noted that the other task is finished."""
    if task.number == 0 and task.attempt == 0:
        until(task.payload.exists, "the other task's end")
        die("SIGKILL")
    return os.getpid()


def interrupt_itself(context: WorkerContext, task: Task[Any]) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "not impressed"


def open_killed() -> None:
    die("SIGKILL")


def open_input_error() -> None:
    from curator.errors import InputError

    raise InputError("--weights /no/such/file: no such file")


@dataclass
class DiesAtOpens:
    """A stage that kills the workers that open it as the `deadly`-th, counted from 0 in `folder`."""

    folder: Path
    deadly: set[int]

    def open(self, context: WorkerContext) -> Callable[[Task[Deadly]], int]:
        opened = len(list(self.folder.iterdir()))
        (self.folder / str(opened)).touch()
        if opened in self.deadly:
            die("SIGKILL")
        return lambda task: survive(context, task)


@dataclass
class FailsAtOpens:
    """A stage that cannot be opened as the `failing`-th, counted from 0 in `folder`, nor with so many threads."""

    folder: Path
    failing: frozenset[int] = frozenset()
    threads: frozenset[int] = frozenset()

    def open(self, context: WorkerContext) -> Callable[[Task[Any]], Any]:
        number = next(number for number in range(99) if self._is_new(number))
        if number in self.failing or context.cpus in self.threads:
            raise RuntimeError(f"CUDA error: device {number} is broken")
        return lambda task: self._handle(context, task)

    def _is_new(self, number: int) -> bool:
        try:
            (self.folder / f"open{number}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _handle(self, context: WorkerContext, task: Task[Any]) -> Any:
        if task.payload == "slow":
            time.sleep(0.2)
        return survive(context, task) if isinstance(task.payload, Deadly) else task.payload


# Who is alive


@dataclass
class SaysGoodbye:
    """A stage whose worker leaves a file when it ends in peace."""

    folder: Path

    def open(self, context: WorkerContext) -> Callable[[Task[Any]], Any]:
        atexit.register(self._say_goodbye)
        return lambda task: task.payload

    def _say_goodbye(self) -> None:
        time.sleep(0.2)  # long enough for a driver in a hurry to kill it
        (self.folder / "goodbye").touch()


@dataclass
class HoldsLockFile:
    """Every worker holds a lock on a file of its own, which only its death gives back."""

    folder: Path

    def open(self, context: WorkerContext) -> Callable[[Task[Any]], Any]:
        descriptor = os.open(self.folder / f"{os.getpid()}.lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return self._handle

    def _handle(self, task: Task[Any]) -> Any:
        (self.folder / f"{task.number}.begun").touch()
        if task.payload == "hang":
            threading.Event().wait()
        if task.payload == "until go":
            until((self.folder / "go").exists, "the word to go on")
        if task.payload == "beside another":
            until(lambda: len(list(self.folder.glob("*.begun"))) >= 2, "another task")
        return task.payload


def holders(folder: Path) -> Iterator[str]:
    """Names of the lock files whose worker is still alive."""
    for path in folder.glob("*.lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path.name
