"""Where the numbers of a training go beside `OUT/metrics.jsonl`. Cheap to import: each is imported when asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from curator.errors import InputError
from curator.io import storage
from curator.plugins import Table, require_package

__all__ = ["LOGGERS", "Loggers", "TensorBoard", "TrainLogger", "check_loggers"]

LOGGERS = Table(kind="logger", group="curator.loggers", builtin={"tensorboard": "curator_ssl.loggers:TensorBoard"})

_log = logging.getLogger(__name__)


class TrainLogger(Protocol):
    """Takes the numbers of a training; made by the first process alone.

    Args:
        out: the run directory, any URL.
        config: name -> value of every setting, without the secrets of URLs.
        step: the steps that were done before: a run that goes on may write some of its last steps again.
    """

    def __init__(self, out: str, config: Mapping[str, Any], step: int) -> None: ...

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of a step, or those that a probe found after it.

        Of a step: `loss`, `spread`, `lr`, `epoch`, `samples`, `images_per_second`.
        """

    def close(self) -> None:
        """The training ends, or is stopped."""


class TensorBoard:
    """Writes event files to OUT/tensorboard: a `TrainLogger`."""

    def __init__(self, out: str, config: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What is behind `step` was written by a part of the run that is done again.
        self._events = SummaryWriter(storage.join(out, "tensorboard"), purge_step=step or None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """See `TrainLogger.write`."""
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """See `TrainLogger.close`."""
        self._events.close()


class Loggers:
    """All loggers of a run. One that fails ends no training: it is said, and it gets no more.

    Args:
        names: built-in names, entry points of `curator.loggers`, or `PACKAGE.MODULE:NAME`.
        out: see `TrainLogger`.
        config: see `TrainLogger`.
        step: see `TrainLogger`.
    """

    def __init__(self, names: Sequence[str], out: str, config: Mapping[str, Any], step: int) -> None:
        self._loggers: dict[str, TrainLogger] = {}
        for name in dict.fromkeys(names):
            try:
                self._loggers[name] = LOGGERS.find(name)(out, config, step)
            except Exception as error:
                _log.warning("%s gets no numbers: %s: %s", name, type(error).__name__, error)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Hand the numbers of a step to each."""
        for name, logger in list(self._loggers.items()):
            try:
                logger.write(step, values)
            except Exception as error:
                _log.warning("%s gets no more numbers: %s: %s", name, type(error).__name__, error)
                del self._loggers[name]

    def close(self) -> None:
        """Close each."""
        for name, logger in self._loggers.items():
            try:
                logger.close()
            except Exception as error:
                _log.warning("%s could not be closed: %s: %s", name, type(error).__name__, error)
        self._loggers.clear()


def check_loggers(names: Sequence[str]) -> None:
    """Look before a training begins whether its loggers are there.

    Raises:
        InputError: there is none of a name, it is no logger, or a package that it needs is missing.
    """
    for name in names:
        if name == "tensorboard":
            require_package("tensorboard", "train", field="log_to", value=name)
        try:
            logger = LOGGERS.find(name)
        except InputError as error:
            raise error.about("log_to") from error.__cause__
        missing = [each for each in ("write", "close") if not callable(getattr(logger, each, None))]
        if missing:
            raise InputError(f"this is no logger: it has no {' and no '.join(missing)}", field="log_to", value=name)
