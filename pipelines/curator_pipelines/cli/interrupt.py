"""Signals that end a command."""

from __future__ import annotations

import faulthandler
import signal
from types import FrameType

__all__ = ["end_by"]

# Workers are stopped, uploads taken back and ownership given up in seconds.
END_SECONDS = 60.0


def end_by(*numbers: signal.Signals) -> None:
    """Let these signals end the command as Ctrl-C does: workers stopped, nothing half-written, resumable.

    An exception that a signal raises may come between any two instructions, so it may leave a lock of some library
    locked for ever. A command that has not ended a minute later prints where its threads stand and ends with exit code
    1; its workers see that and end, too.
    """
    for number in numbers:
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    faulthandler.dump_traceback_later(END_SECONDS, exit=True)
    raise KeyboardInterrupt
