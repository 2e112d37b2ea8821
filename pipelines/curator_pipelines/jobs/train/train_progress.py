"""How training tells a person where it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

from curator_pipelines.run import Reporter, StageProgress

__all__ = ["TrainProgress"]


class TrainProgress:
    """A stage of steps, with the loss beside it: a `curator_ssl.reporter.TrainReporter`. Use as a context manager.

    Args:
        reporter: shows the stage.
        steps: the steps of the whole run.
    """

    def __init__(self, reporter: Reporter, steps: int) -> None:
        self._stage: AbstractContextManager[StageProgress] = reporter.stage("train", steps, "steps")
        self.say, self.warn = reporter.say, reporter.warn

    def report_step(self, step: int, steps: int, loss: float) -> None:
        """`step` steps of `steps` are done."""
        self._progress.note = f"loss {loss:.4f}"
        self._progress({"steps": step - self._progress.done})

    def __enter__(self) -> TrainProgress:
        self._progress = self._stage.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stage.__exit__(kind, error, trace)
