"""Executors: where stages run: in this process, in worker processes, or in actors of a Ray cluster.

A stage knows no executor, an executor knows no images. One dispatcher hands tasks to workers of every kind; what a
kind of worker does differently is in `local` and `ray`. Nothing that belongs to a job comes in here.
"""

from curator_pipelines.executors.failures import Failure, dead_at_start, given_up
from curator_pipelines.executors.in_process import InProcessExecutor
from curator_pipelines.executors.local import LocalExecutor
from curator_pipelines.executors.protocol import (
    MAX_ATTEMPTS,
    MAX_DEATHS_AT_START,
    Executor,
    Outcome,
    Stage,
    Task,
    WorkerContext,
    as_tasks,
    no_progress,
)

__all__ = [
    "MAX_ATTEMPTS",
    "MAX_DEATHS_AT_START",
    "Executor",
    "Failure",
    "InProcessExecutor",
    "LocalExecutor",
    "Outcome",
    "Stage",
    "Task",
    "WorkerContext",
    "as_tasks",
    "dead_at_start",
    "given_up",
    "no_progress",
]
