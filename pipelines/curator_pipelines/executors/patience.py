"""How long a run waits for workers, and what it says meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from curator.errors import Change, CuratorError
from curator_pipelines.executors.watch import note_event

__all__ = ["WAIT_SECONDS", "Patience"]

# A run waits so long for a worker unless it is told otherwise.
WAIT_SECONDS = 900.0
# What is waited for is told so often.
TELL_EVERY = 60.0

_log = logging.getLogger(__name__)


class Patience:
    """Tells once a minute what a run waits for, until that has been too long.

    Args:
        seconds: how long it may wait.
        tell_after: seconds of waiting before it is told for the first time.
        clock: seconds from any beginning.
    """

    def __init__(self, seconds: float, *, tell_after: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._tell_after = tell_after
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """There is nothing to wait for any more."""
        self._began = self._clock()
        self._told = self._began + self._tell_after - TELL_EVERY

    def wait_for(self, what: Callable[[], str]) -> None:
        """Note that the run still waits.

        Args:
            what: says for what, when that is told.

        Raises:
            CuratorError: it has waited too long.
        """
        now = self._clock()
        waited = now - self._began
        if waited >= self._seconds:
            raise CuratorError(
                f"waited {_in_words(waited)} for {what()}",
                field="wait_for_workers",
                value=f"{self._seconds / 60:g}m",
                advice=("run again when there is one", Change("wait_for_workers", "larger")),
            )
        if now - self._told >= TELL_EVERY:
            self._told = now
            text = f"waiting for {what()}; the run gives up in {_in_words(self._seconds - waited)}"
            _log.warning("%s", text)
            note_event("waiting", text)


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
