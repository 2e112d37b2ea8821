"""What stages and executors promise each other.

A stage says what is done with one task, an executor where. A stage never sees an executor, an executor never
looks into a payload or a value.
"""

import reprlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

from curator.types import Progress

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_DEATHS_AT_START",
    "MAX_NODE_LOSSES",
    "Executor",
    "Outcome",
    "Stage",
    "Task",
    "WorkerContext",
    "as_tasks",
    "no_progress",
]

# A task that lost this many workers is given up: the next worker would most likely die of it too.
MAX_ATTEMPTS = 3

# A task whose node was lost this often without a notice is given up: it may be what takes the nodes down.
MAX_NODE_LOSSES = 5

# A place is given up when this many workers in a row died there before they could take a task: the next would too.
MAX_DEATHS_AT_START = 3

T = TypeVar("T")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 120


@dataclass(frozen=True)
class Task(Generic[T_co]):
    """One piece of work.

    Attributes:
        number: names the task, for messages and for putting outcomes back in order.
        payload: what the stage works on; it must pickle.
        attempt: how often a worker died while it held this task; if it is not 0, a stage takes more care.
        node_losses: how often a worker was lost with its node, which had not been announced. Announced losses, such as
            preemptions, count as neither.
    """

    number: int
    payload: T_co
    attempt: int = 0
    node_losses: int = 0

    @property
    def name(self) -> str:
        """Its payload in brief, for people."""
        return _brief.repr(self.payload)

    def __str__(self) -> str:
        return f"task {self.number} ({self.name})"


@dataclass(frozen=True)
class WorkerContext:
    """What a worker may use.

    Attributes:
        cpus: the number of threads this worker may use.
        device: the device of its models, such as `cpu` or `cuda:0`.
        report: hands progress increments to the driver while a task runs; may be called from any thread.
    """

    cpus: int
    device: str
    report: Progress


class Stage(Protocol[T_contra, R_co]):
    """What is done with every task. A stage is pickled to the workers, so it holds settings and no costly state."""

    def open(self, context: WorkerContext) -> Callable[[Task[T_contra]], R_co]:
        """Build the costly state, once per worker, and return the function that handles tasks with it.

        A value should be small, because it travels to the driver. Handling a task twice must do no harm, because a
        worker may be lost after it finished the work and before the driver knew.

        Raises:
            Exception: this worker cannot work. It is out, and tasks go on elsewhere; the executor raises the error on
                the driver once it is clear that no other worker can work either.
        """
        ...


@dataclass(frozen=True)
class Outcome(Generic[T_co, R_co]):
    """How a task ended: with a value, or else with an error.

    Attributes:
        task: the task, with the attempt that ended it.
        value: what the stage returned; None where there is an error.
        error: what the stage raised, or why the stage returned no value.
        lost: whether the error is that workers, or nodes, kept being lost while they held the task.
    """

    task: Task[T_co]
    value: R_co | None = None
    error: Exception | None = None
    lost: bool = False

    def unwrap(self) -> R_co:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return cast(R_co, self.value)


class Executor(Protocol):
    """Runs a stage over tasks."""

    @property
    def workers(self) -> int:
        """The number of tasks that are worked on at the same time."""
        ...

    def map(
        self, stage: Stage[T, R], tasks: Iterable[T | Task[T]], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[T, R], None, None]:
        """Run `stage` over `tasks`; yield one outcome for every task, in order of completion.

        Nothing happens before the first outcome is asked for. `tasks` is read lazily, never more than
        `2 x workers` ahead of the outcomes handed out. A lost worker is replaced and its task tried again.
        Take outcomes swiftly: workers get their next task while an outcome is awaited, not while one is used.
        Closing the generator stops the workers at once; use `contextlib.closing` where an exception may leave
        it unfinished.

        Args:
            stage: what is done with every task.
            tasks: payloads, numbered in order from 0, or tasks with numbers of their own.
            on_progress: called on the driver, only while an outcome is awaited. What a lost worker had
                reported for its task is taken back with negative increments, so that totals stay true.

        Raises:
            CuratorError: workers of two nodes failed alike to open the stage, or all workers there are did; exit code 2
                if no task was finished before, else 1. An error that is known to be the user's stays what it is.
        """
        ...

    def describe(self) -> str:
        """Say for people where the work runs, such as `1 worker process, 2 threads`."""
        ...


def as_tasks(items: Iterable[T | Task[T]]) -> Iterator[Task[T]]:
    """Number bare payloads by their position in `items`; tasks stay as they are."""
    for number, item in enumerate(items):
        yield cast("Task[T]", item) if isinstance(item, Task) else Task(number, item)


def no_progress(increments: Mapping[str, int]) -> None:
    """Ignore progress that no caller wants."""
