"""The in-process executor: everything in the caller's thread, where no process need be started."""

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from curator.errors import CuratorError
from curator.types import Progress
from curator_pipelines.executors.protocol import Outcome, Stage, Task, WorkerContext, as_tasks, no_progress

__all__ = ["InProcessExecutor"]

T = TypeVar("T")
R = TypeVar("R")


class InProcessExecutor:
    """Runs stages in the calling process. A crash in native code ends that process.

    Args:
        cpus: the number of threads that the stage may use.
        device: the device of its models.
    """

    workers = 1

    def __init__(self, cpus: int = 1, device: str = "cpu") -> None:
        self.cpus = cpus
        self.device = device

    def describe(self) -> str:
        """Say for people where the work runs."""
        return f"in this process, {'1 thread' if self.cpus == 1 else f'{self.cpus} threads'}"

    def map(
        self, stage: Stage[T, R], tasks: Iterable[T | Task[T]], *, on_progress: Progress | None = None
    ) -> Generator[Outcome[T, R], None, None]:
        """Run `stage` over `tasks`; see `Executor.map`."""
        handle: Callable[[Task[T]], R] | None = None
        for task in as_tasks(tasks):
            # As in the other executors, no task means that nothing is opened.
            if handle is None:
                handle = stage.open(WorkerContext(self.cpus, self.device, on_progress or no_progress))
            yield _attempt(handle, task)


def _attempt(handle: Callable[[Task[T]], R], task: Task[T]) -> Outcome[T, R]:
    try:
        return Outcome(task, value=handle(task))
    except Exception as error:
        return Outcome(task, error=error)
    except SystemExit as error:
        return Outcome(task, error=CuratorError(f"SystemExit: {error}"))
