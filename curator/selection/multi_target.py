"""SimCore for several targets over one pool: every pass over the pool serves all that need one.

Each target's rounds run in a thread of their own and wait where their rows run out. When all wait, one scan with
all their centroids reads on for every target. A centroid's rows do not depend on what else is scanned, so each
selection is that of a run of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search import Cursors, Floats, PassProgress, Pool, QueryScan, TopK, best_rows, check_centroids, watched
from curator.selection.frontier import ROOM, k_limit
from curator.selection.result import Selection
from curator.selection.rounds import run_rounds
from curator.selection.rules import Rules
from curator.selection.simcore import with_centroids
from curator.types import Progress

__all__ = ["NewFetch", "select_each"]

# Centroids, float32 (K, d), to what reads the pool for all of them: cursors and k to the top-k after them.
NewFetch: TypeAlias = Callable[[Floats], Callable[[Cursors, int], TopK]]


def select_each(
    pool: Pool,
    centroids: Sequence[Floats],
    rules: Sequence[Rules],
    *,
    progress: Progress | None = None,
    new_fetch: NewFetch | None = None,
    queries: Sequence[QueryScan] = (),
) -> list[Selection]:
    """The coreset of a pool for each of several targets, in as few passes as the one that needs most.

    Args:
        pool: its parts.
        centroids: those of each target, float32 (K, d), unit rows.
        rules: the limits of each selection, in the same order.
        progress: told of the rows read and chosen.
        new_fetch: makes what reads the pool, such as `DistributedScan` by many workers; None for `best_rows` in this
            thread. It scores what is left of the queries that have begun, too.
        queries: for each target, or for none, rows whose best pool rows the first pass also looks for.

    Returns:
        selections equal to those of `select_simcore` for each target alone, but for how often the pool was
        read. Memory as there: the top-k of all targets share 1 GiB.

    Raises:
        InputError: as `select_simcore`.
    """
    for rows in centroids:
        check_centroids(rows)
    passes = PassProgress.of(progress)
    scans = _SharedScans(len(centroids), passes)

    def read_here(together: Floats) -> Callable[[Cursors, int], TopK]:
        return lambda cursors, k: best_rows(watched(pool, queries), together, k, cursors, progress=passes)

    def select_one(number: int) -> Selection:
        own = centroids[number]
        try:
            selection = run_rounds(
                lambda lines, cursors, k: scans.wait(number, _Request(lines, cursors, k)),
                len(own),
                rules[number],
                progress=scans.went_on,
                room=ROOM // len(centroids),
            )
        finally:
            scans.leave(number)
        return with_centroids(pool, own, selection)

    with ThreadPoolExecutor(max(1, len(centroids))) as threads:
        futures = [threads.submit(select_one, number) for number in range(len(centroids))]
        try:
            while requests := scans.next_requests():
                passes.begin()
                scans.give(_scan(new_fetch or read_here, centroids, requests, queries))
        except BaseException:
            scans.cancel()
            raise
    return [future.result() for future in futures]


@dataclass(frozen=True, slots=True)
class _Request:
    """The rows of some centroids of one target after their cursors, `k` per centroid."""

    lines: NDArray[np.int64]
    cursors: Cursors
    k: int


def _scan(
    new_fetch: NewFetch, centroids: Sequence[Floats], requests: dict[int, _Request], queries: Sequence[QueryScan]
) -> dict[int, TopK]:
    """One pass for all targets that wait; a target's number -> its top-k."""
    together = np.concatenate([centroids[number][request.lines] for number, request in requests.items()])
    cursors = Cursors(
        np.concatenate([request.cursors.scores for request in requests.values()]),
        np.concatenate([request.cursors.ids for request in requests.values()]),
    )
    k = min(max(request.k for request in requests.values()), k_limit(len(together)))
    # All targets wait for the first pass, and none has a cursor then.
    first = [number for number in requests if queries and queries[number].top_k is None]
    for number in first:
        queries[number].begin(centroids[number], k)
    top_k = new_fetch(together)(cursors, k)
    answers, start = {}, 0
    for number, request in requests.items():
        end = start + len(request.lines)
        answers[number] = top_k.take(slice(start, end))
        start = end
    for number in first:
        queries[number].end(answers[number])
    # What is told of the time after the end is what memory holds: as much as in a run of each target alone.
    return {number: answer.narrowed(requests[number].k) for number, answer in answers.items()}


@dataclass
class _SharedScans:
    """Where the rounds of all targets wait for a scan, and the one thread that scans for them."""

    targets: int
    progress: Progress
    _running: set[int] = field(init=False)
    _requests: dict[int, _Request] = field(default_factory=dict)
    _answers: dict[int, TopK] = field(default_factory=dict)
    _cancelled: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._running = set(range(self.targets))

    def wait(self, number: int, request: _Request) -> TopK:
        """Called by rounds: the rows after their cursors, from the next scan."""
        with self._changed:
            self._requests[number] = request
            self._changed.notify_all()
            self._changed.wait_for(lambda: number in self._answers or self._cancelled)
            self.check()
            return self._answers.pop(number)

    def leave(self, number: int) -> None:
        """Called by rounds that are at their end."""
        with self._changed:
            self._running.discard(number)
            self._changed.notify_all()

    def went_on(self, increments: Mapping[str, int]) -> None:
        """Called by rounds as they go on."""
        with self._changed:
            self.check()
            self.progress(increments)

    def check(self) -> None:
        """Called by rounds: ends them if nobody needs their result any more."""
        if self._cancelled:
            raise InterruptedError("the selection was cancelled")

    def next_requests(self) -> dict[int, _Request]:
        """Called by the scanning thread: all requests once every target that still runs waits; none when none runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests.keys() == self._running)
            requests = dict(sorted(self._requests.items()))
            self._requests.clear()
            return requests

    def give(self, answers: dict[int, TopK]) -> None:
        """Called by the scanning thread."""
        with self._changed:
            self._answers.update(answers)
            self._changed.notify_all()

    def cancel(self) -> None:
        """Called by the scanning thread, when it cannot go on."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
