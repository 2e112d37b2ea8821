"""What every step gave, for metrics.jsonl and for the person who waits."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType

import torch

from curator.io import public_values
from curator_ssl.config import TrainConfig
from curator_ssl.data import Schedule
from curator_ssl.distributed import RankGroup, is_first
from curator_ssl.loggers import Loggers
from curator_ssl.outputs.collapse import LearningWatch
from curator_ssl.outputs.metrics import Metrics
from curator_ssl.reporter import TrainReporter

__all__ = ["StepLog"]

# Steps whose values stay on the device before they are fetched and written together.
LOG_EVERY = 10


class StepLog:
    """Keeps the values of steps, averages them over ranks and writes them. Use as a context manager, on every rank.

    Args:
        config: a resolved config.
        schedule: tells the epoch of a step.
        start: how many steps were done before.
        group: the processes that train together.
        reporter: the first rank tells it how far the run is.
        watch: is told of every step.

    Attributes:
        loss: the mean loss of the steps that were written last.
        spread: the mean spread of their embeddings; see `curator_ssl.methods.base.spread`.
    """

    def __init__(
        self,
        config: TrainConfig,
        schedule: Schedule,
        start: int,
        group: RankGroup,
        reporter: TrainReporter,
        watch: LearningWatch,
    ) -> None:
        self.loss = self.spread = math.nan
        self._config, self._schedule, self._start, self._group = config, schedule, start, group
        self._reporter, self._watch = reporter, watch
        self._pending: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._started = time.monotonic()
        self._metrics: Metrics | None = None

    @property
    def is_full(self) -> bool:
        """Whether it is time to write."""
        return len(self._pending) == LOG_EVERY

    @property
    def seconds(self) -> float:
        """How long this part of the run has taken."""
        return time.monotonic() - self._started

    def images_per_second(self, steps_done: int) -> float:
        """The speed of this part of the run, over all ranks."""
        return (steps_done - self._start) * self._config.batch_size / max(self.seconds, 1e-9)

    def add(self, step: int, loss: torch.Tensor, spread: torch.Tensor) -> None:
        """Keep what a step gave, on the device."""
        self._pending.append((step, loss, spread))

    def write(self) -> None:
        """Fetch the values from the device, average them over ranks and write them. All ranks call it together.

        Raises:
            NothingLearned: on all ranks; what came before is written.
        """
        own = torch.stack([torch.stack([loss, spread]) for _, loss, spread in self._pending]).cpu()
        values = torch.stack(self._group.all_gather(own)).mean(dim=0).tolist()
        for (step, _, _), (loss, spread) in zip(self._pending, values, strict=True):
            self._watch.check(step, loss, spread)
            if self._metrics is not None:
                self._write_step(self._metrics, step, loss, spread)
        self.loss, self.spread = (sum(column) / len(column) for column in zip(*values, strict=True))
        steps_done = self._pending[-1][0] + 1
        self._pending.clear()
        if self._metrics is not None:
            self._metrics.publish()
            self._reporter.report_step(steps_done, self._config.steps, self.loss)

    def _write_step(self, metrics: Metrics, step: int, loss: float, spread: float) -> None:
        metrics.write(
            {
                "step": step,
                "epoch": self._schedule.epoch(step),
                "loss": loss,
                "spread": spread,
                "lr": self._config.learning_rate(step),
                "samples": (step + 1) * self._config.batch_size,
                "images_per_second": self.images_per_second(self._pending[-1][0] + 1),
            }
        )

    def write_probe(self, step: int, accuracies: Mapping[str, float]) -> None:
        """Write what a probe found after a step; the first rank calls it."""
        described = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in accuracies.items())
        self._reporter.say(f"probe at step {step + 1:,}: {described}")
        if self._metrics is not None:
            self._metrics.write({"step": step, **accuracies})
            self._metrics.publish()

    def __enter__(self) -> StepLog:
        if is_first():
            config = self._config
            loggers = Loggers(config.log_to, config.out, public_values(config.model_dump()), self._start)
            self._metrics = Metrics(config.out, self._start, loggers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._metrics is not None:
            self._metrics.__exit__(kind, error, trace)
