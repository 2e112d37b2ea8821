"""SimCore for several targets over one pool: every pass over the pool serves all that need one.

Each target's rounds run in a thread of their own and wait where their queues run dry. When all wait, one scan with
all their centroids fills every queue. A queue's rows do not depend on what else is scanned, so each selection is
that of a run of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from curator.search.pool import Floats, Pool
from curator.search.scan import best_rows, check_centroids
from curator.search.top_k import Cursors, TopK
from curator.selection.filters import Filter
from curator.selection.frontier import Fetch, k_limit
from curator.selection.result import Selection
from curator.selection.rounds import run_rounds
from curator.selection.simcore import with_objective
from curator.types import Progress

__all__ = ["Question", "select_each"]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the pool for one target; see `select_simcore`."""

    centroids: Floats
    budget: int | None
    stop: float | None
    reference_round: int = 1
    row_filter: Filter | None = None
    k: int | None = None


Search: TypeAlias = Callable[[Floats], Fetch]
"""Centroids, float32 (K, d), to a `Fetch` for them."""


def select_each(
    pool: Pool, questions: Sequence[Question], *, progress: Progress | None = None, search: Search | None = None
) -> list[Selection]:
    """The coreset of a pool for each of several targets, in as few passes as the one that needs most.

    Args:
        pool: its parts.
        questions: one for each target.
        progress: told of the rows read.
        search: reads the pool, such as `DistributedScan` by many workers; None for `best_rows` in this thread.

    Returns:
        selections equal to those of `select_simcore` for each question alone, but for how often the pool was
        read. Memory as there: the queues of all targets share 1 GiB.

    Raises:
        InputError: as `select_simcore`.
    """
    for question in questions:
        check_centroids(question.centroids)
    scans = _SharedScans(len(questions))

    def read_here(centroids: Floats) -> Fetch:
        return lambda cursors, k: best_rows(pool, centroids, k, cursors, progress=progress)

    def answer(number: int) -> Selection:
        question = questions[number]
        try:
            selection = run_rounds(
                lambda cursors, k: scans.wait(number, cursors, k),
                len(question.centroids),
                budget=question.budget,
                stop=question.stop,
                reference_round=question.reference_round,
                row_filter=question.row_filter,
                k=question.k,
                progress=scans.check,
            )
        finally:
            scans.leave(number)
        return with_objective(pool, question.centroids, selection)

    with ThreadPoolExecutor(max(1, len(questions))) as threads:
        futures = [threads.submit(answer, number) for number in range(len(questions))]
        try:
            while wanted := scans.next():
                scans.give(_scan(search or read_here, questions, wanted))
        except BaseException:
            scans.cancel()
            raise
    return [future.result() for future in futures]


def _scan(search: Search, questions: Sequence[Question], wanted: dict[int, _Wanted]) -> dict[int, TopK]:
    """One pass for all that wait; number -> its queues."""
    centroids = np.concatenate([questions[number].centroids for number in wanted])
    cursors = Cursors(
        np.concatenate([want.cursors.scores for want in wanted.values()]),
        np.concatenate([want.cursors.ids for want in wanted.values()]),
    )
    k = min(max(want.k for want in wanted.values()), k_limit(len(centroids)))
    queues = search(centroids)(cursors, k)
    found, start = {}, 0
    for number in wanted:
        lines = slice(start, start + len(questions[number].centroids))
        found[number] = queues.of(lines)
        start = lines.stop
    return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    cursors: Cursors
    k: int


@dataclass
class _SharedScans:
    """Where the rounds wait for a scan, and the one thread that scans for them."""

    askers: int
    _live: set[int] = field(init=False)
    _wanted: dict[int, _Wanted] = field(default_factory=dict)
    _found: dict[int, TopK] = field(default_factory=dict)
    _cancelled: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._live = set(range(self.askers))

    def wait(self, number: int, cursors: Cursors, k: int) -> TopK:
        """Called by rounds: the rows after their cursors, from the next scan."""
        with self._changed:
            self._wanted[number] = _Wanted(cursors, k)
            self._changed.notify_all()
            self._changed.wait_for(lambda: number in self._found or self._cancelled)
            self.check()
            return self._found.pop(number)

    def leave(self, number: int) -> None:
        """Called by rounds that are at their end."""
        with self._changed:
            self._live.discard(number)
            self._changed.notify_all()

    def check(self, increments: Mapping[str, int] | None = None) -> None:
        """Called by rounds as they go on: ends them if nobody wants their result any more."""
        if self._cancelled:
            raise InterruptedError("the selection was cancelled")

    def next(self) -> dict[int, _Wanted]:
        """Called by who scans: what is wanted once all that still run wait; nothing when none runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted.keys() == self._live)
            wanted = dict(sorted(self._wanted.items()))
            self._wanted.clear()
            return wanted

    def give(self, found: dict[int, TopK]) -> None:
        """Called by who scans."""
        with self._changed:
            self._found.update(found)
            self._changed.notify_all()

    def cancel(self) -> None:
        """Called by who scans, when it cannot go on."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
