"""A measurement in a process of its own: seconds, and the memory of it and of its workers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

INTERVAL = 0.05


@dataclass(frozen=True)
class Measured:
    """What a function cost.

    Attributes:
        result: what it returned.
        seconds: of its run, without the start of the process and its imports.
        anonymous: most MB of memory of its own, imports included.
        resident: most MB in all, with the pages of mapped files that happened to be in memory.
        largest: most MB of memory of its own that one process had.
    """

    result: Any
    seconds: float
    anonymous: float
    resident: float
    largest: float


def measure(function: Callable[..., Any], *args: Any) -> Measured:
    """Run a module's function in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(_measured, function, *args).result()


def _measured(function: Callable[..., Any], *args: Any) -> Measured:
    done = threading.Event()
    peaks = [0.0, 0.0, 0.0]

    def watch() -> None:
        while not done.wait(INTERVAL):
            for at, value in enumerate(_memory()):
                peaks[at] = max(peaks[at], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        result = function(*args)
    finally:
        seconds = time.perf_counter() - started
        done.set()
        watcher.join()
    return Measured(result, seconds, *peaks)


def _memory() -> tuple[float, float, float]:
    """MB of this process and all below it: anonymous, resident; anonymous of the largest."""
    anonymous = resident = largest = 0
    waiting = [os.getpid()]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        try:
            status = (process / "status").read_text()
            tasks = [path.read_text() for path in process.glob("task/*/children")]
        except (FileNotFoundError, ProcessLookupError):
            continue
        sizes = dict(line.split()[:2] for line in status.splitlines() if line.startswith("Rss"))
        own = int(sizes.get("RssAnon:", 0))
        anonymous, largest = anonymous + own, max(largest, own)
        resident += sum(int(size) for size in sizes.values())
        waiting += [int(child) for text in tasks for child in text.split()]
    return anonymous / 1024, resident / 1024, largest / 1024
