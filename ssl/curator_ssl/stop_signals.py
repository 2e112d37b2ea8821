"""SIGTERM and SIGINT as a question that the loop asks between two steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stop_signals"]


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Inside, SIGTERM and SIGINT only make the given function return True; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        # Ray Train runs the loop in a thread, where no signal arrives.
        yield lambda: False
        return
    received: list[int] = []

    def receive(number: int, frame: object) -> None:
        if received:
            os._exit(130)
        received.append(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
