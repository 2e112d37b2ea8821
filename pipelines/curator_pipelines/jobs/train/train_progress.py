"""How training tells a person where it is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from curator.io import storage
from curator_pipelines.run import Reporter, StageProgress
from curator_ssl.config import TrainConfig
from curator_ssl.reporter import TrainReporter

__all__ = ["TrainProgress", "metrics_followed"]

READ_METRICS_SECONDS = 2.0


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


@contextmanager
def metrics_followed(config: TrainConfig, reporter: TrainReporter) -> Iterator[None]:
    """While the block runs, tell the reporter what a training elsewhere writes to OUT/metrics.jsonl."""
    is_over = threading.Event()

    def follow() -> None:
        while not is_over.wait(READ_METRICS_SECONDS):
            try:
                lines = storage.read_bytes(storage.join(config.out, "metrics.jsonl")).splitlines()
                last = json.loads(lines[-1])
                reporter.report_step(last["step"] + 1, config.steps, last["loss"])
            except (OSError, ValueError, LookupError):
                continue

    thread = threading.Thread(target=follow, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
