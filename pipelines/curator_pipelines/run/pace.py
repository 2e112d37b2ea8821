"""How fast work goes now, from its last minute: what came before, such as workers that start, says nothing of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Pace"]

# Seconds that are looked back.
WINDOW = 60.0
# Before so many steps and seconds nothing is said: the first batches of several workers come at once.
LEAST_STEPS = 5
LEAST_SECONDS = 5.0
# Seconds between two remembered counts.
EVERY = 0.5


class Pace:
    """Units per second of the last minute, or of the last steps where a minute has too few.

    Args:
        clock: seconds, as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: deque[tuple[float, int]] = deque()
        self._steps = 0

    def note(self, done: int) -> None:
        """So many units are done. Fewer than before: the work has begun again, as for another pass over a pool."""
        now = self._clock()
        if self._counts and done < self._counts[-1][1]:
            self._counts.clear()
            self._steps = 0
        self._steps += 1
        if not self._counts or now - self._counts[-1][0] >= EVERY:
            self._counts.append((now, done))
        while len(self._counts) > LEAST_STEPS and now - self._counts[1][0] > WINDOW:
            self._counts.popleft()

    def per_second(self, done: int) -> float | None:
        """The pace now that `done` units are done; None while too little has been seen to tell.

        Work that stands still gets slower as one looks.
        """
        if not self._counts or self._steps <= LEAST_STEPS:
            return None
        since, before = self._counts[0]
        seconds = self._clock() - since
        return (done - before) / seconds if seconds >= LEAST_SECONDS else None
