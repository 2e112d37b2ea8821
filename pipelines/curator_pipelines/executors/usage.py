"""What work costs: CPU time, bytes and requests of this process and of the workers it has heard of."""

from __future__ import annotations

import resource
import threading
from collections import Counter
from collections.abc import Mapping

from curator.io import traffic
from curator.types import Progress

__all__ = ["USAGE", "Meter", "add_usage", "usage_so_far"]

# What is told beside progress, in whole units so that sums are exact: milliseconds of CPU and GPU, bytes, requests.
USAGE = ("cpu_ms", "gpu_ms", "read_bytes", "written_bytes", "requests")

_lock = threading.Lock()
_of_workers: Counter[str] = Counter()


def add_usage(increments: Mapping[str, int]) -> None:
    """Note what a worker has used. What it used for a task that it did not finish is used all the same."""
    with _lock:
        _of_workers.update({name: increments[name] for name in USAGE if name in increments})


def usage_so_far() -> Counter[str]:
    """What this process and its workers have used so far, by the names in `USAGE`.

    Workers tell it with their progress, so what a killed one did since its last word is not in it.
    """
    with _lock:
        return _of_this_process(with_children=False) + _of_workers


def _of_this_process(with_children: bool) -> Counter[str]:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN) if with_children else (resource.RUSAGE_SELF,)
    usages = [resource.getrusage(kind) for kind in kinds]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    bytes_so_far = traffic()
    return Counter(
        cpu_ms=int(1000 * cpu),
        read_bytes=bytes_so_far.read,
        written_bytes=bytes_so_far.written,
        requests=bytes_so_far.requests,
    )


class Meter:
    """Tells, with a worker's progress, what its process has used since it last told.

    Args:
        report: hands increments to the driver.
    """

    def __init__(self, report: Progress) -> None:
        self._report = report
        self._lock = threading.Lock()
        # What was used before the first task is the worker's start, which the driver should know of too.
        self._told: Counter[str] = Counter()

    def __call__(self, increments: Mapping[str, int]) -> None:
        """Report progress: a `curator.types.Progress`."""
        with self._lock:
            now = _of_this_process(with_children=True)
            news = now - self._told
            self._told = now
        self._report({**increments, **news})

    def flush(self) -> None:
        """Report what was used and has not been told, where there is anything."""
        self({})
