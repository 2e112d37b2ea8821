"""A training in one process that is done by a worker: where a run's workers are other machines, so is the GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from curator_pipelines.executors import Executor, Task, WorkerContext
from curator_pipelines.jobs.train.request import TrainRequest
from curator_pipelines.jobs.train.train_progress import TrainProgress, metrics_followed
from curator_ssl.resolve import MAX_LOADERS
from curator_ssl.train_loop import TrainResult

__all__ = ["WorkerPlace", "launch_on_worker"]


@dataclass(frozen=True)
class WorkerPlace:
    """Where a training is done that is not done by the driver.

    Attributes:
        device: of the worker, `cpu` or `cuda`.
        precision: `fp32` or `bf16`.
        make_executor: gives an executor whose workers reach the training's directory.
    """

    device: str
    precision: str
    make_executor: Callable[[], Executor]


@dataclass(frozen=True)
class TrainTask:
    """A training; what is printed of it holds no address."""

    content: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class TrainStage:
    """Trains. A worker that is lost is replaced, and the next goes on from the last checkpoint."""

    def open(self, context: WorkerContext) -> Callable[[Task[TrainTask]], tuple[TrainResult, list[str], list[str]]]:
        """Return the function that trains; it gives the result, and the lines and warnings on the way."""

        def train(task: Task[TrainTask]) -> tuple[TrainResult, list[str], list[str]]:
            request = TrainRequest.from_json(task.payload.content)
            # More than one thread is for a network that is worth all of a machine; and the loaders' number was the
            # driver's.
            config = request.config.model_copy(update={"loader_workers": min(MAX_LOADERS, context.cpus)})
            threads = 1 if request.threads == 1 else context.cpus
            lines = _Lines()
            return replace(request, config=config, threads=threads).train(lines), lines.said, lines.warned

        return train


class _Lines:
    """Keeps what a training says; how far it is stands in its metrics."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.say = self.said.append
        self.warn = self.warned.append

    def report_step(self, step: int, steps: int, loss: float) -> None:
        """Nothing: the driver reads the metrics."""


def launch_on_worker(request: TrainRequest, place: WorkerPlace, progress: TrainProgress) -> TrainResult:
    """Train in a worker.

    Args:
        request: the run; OUT/samples.parquet holds its samples.
        place: where.
        progress: is told how far it is, by OUT/metrics.jsonl.

    Raises:
        CuratorError: as `curator_ssl.train_loop.train`; or workers kept being lost.
    """
    executor = place.make_executor()
    progress.say(f"training on {executor.describe()}")
    with (
        metrics_followed(request.config, progress),
        closing(executor.map(TrainStage(), [TrainTask(request.to_json())])) as outcomes,
    ):
        (outcome,) = outcomes
    result, said, warned = outcome.unwrap()
    for line in said:
        progress.say(line)
    for line in warned:
        progress.warn(line)
    return result
