"""A stage as a worker process of `curator work` runs it: nothing is written that another has the claim on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curator.io import Claim, storage
from curator_pipelines.executors import Stage, Task, WorkerContext

__all__ = ["ClaimedStage", "ClaimedTask"]


@dataclass(frozen=True)
class ClaimedTask:
    """A task's payload, and the claim on it."""

    payload: Any
    claim: Claim


@dataclass(frozen=True)
class ClaimedStage:
    """Does what `stage` does, and looks at a task's claim before it writes."""

    stage: Stage[Any, Any]

    def open(self, context: WorkerContext) -> Callable[[Task[ClaimedTask]], Any]:
        """Open the stage; the function handles a task, and raises `ClaimEnded` where that is another's by now."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            # Sent to a whole job: the process that holds the claim gives it back, and ends this one.
            signal.signal(number, signal.SIG_IGN)
        handle = self.stage.open(context)

        def run(task: Task[ClaimedTask]) -> Any:
            with storage.before_commits(task.payload.claim.check):
                return handle(Task(task.number, task.payload.payload, task.attempt))

        return run
