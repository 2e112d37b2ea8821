"""The front of all queues: each centroid's best row that is still to be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search.top_k import Cursors, TopK

__all__ = ["Fetch", "Frontier", "Heads", "first_k", "k_limit"]

Fetch: TypeAlias = Callable[[Cursors, int], TopK]
"""Reads the pool once: cursors and k to queues. `best_rows` on one machine, or a job of many."""

QUEUE_BYTES = 1 << 30
ENTRY_BYTES = 40
"""At the peak of a scan, where old and new queues are held: 12 each, newcomers, and what sorting takes."""
LEAST_K = 500


def k_limit(clusters: int) -> int:
    """The most rows per centroid that a scan keeps within 1 GiB."""
    return max(1, QUEUE_BYTES // (ENTRY_BYTES * clusters))


def first_k(clusters: int, budget: int | None) -> int:
    """How many rows per centroid the first pass keeps.

    A centroid's queue loses its own rows and those that others took before it: at a budget of a hundredth of the
    pool up to eight times its share in what was measured, less at smaller ones. More rows cost time and memory, too
    few a second pass over the pool; the result of a selection never depends on it.
    """
    share = -(-(budget or 0) // clusters)
    return min(max(LEAST_K, 12 * share), k_limit(clusters))


class Heads(NamedTuple):
    """What each centroid would take next.

    Attributes:
        scores: float32 (K,).
        ids: int64 (K,); centroids may want the same row.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]


class Frontier:
    """TopK of which some rows are gone. Reads the pool again whenever a queue runs dry too early.

    Attributes:
        passes: how often the pool was read.
        k: rows per centroid kept by the last pass.
        candidates: rows of the pool.
    """

    def __init__(self, fetch: Fetch, clusters: int, k: int) -> None:
        self.passes = 0
        self.k = min(k, k_limit(clusters))
        self.candidates = 0
        self._fetch = fetch
        self._cursors = Cursors.start(clusters)
        self._gone_ids: list[NDArray[np.int64]] = []
        self._fill()

    def heads(self) -> Heads | None:
        """Each centroid's best row that is not gone; None if every row of the pool is.

        Cost K per row that became gone since the last call and stands at the front of a queue.
        """
        while True:
            rows = self._rows.take(self._at)
            stale = self._gone.take(rows)
            while stale.any():
                self._at += stale
                rows = self._rows.take(self._at)
                stale = self._gone.take(rows)
            dry = rows == len(self._ids)
            if not dry.any():
                self._heads = rows
                return Heads(self._scores.take(self._at), self._ids.take(rows))
            # All queues see the same rows, so one that is at its true end means there are none left.
            if self._complete[dry].any():
                return None
            self._cursors = self._consumed()
            self.k = min(2 * self.k, k_limit(len(rows)))
            self._fill()

    def drop(self, centroid: int) -> None:
        """The row at the head of one centroid's queue is gone, for all centroids."""
        row = self._heads[centroid]
        self._gone[row] = True
        self._gone_ids.append(self._ids[row : row + 1])

    def drop_all(self) -> None:
        """The rows at the heads of all queues are gone."""
        self._gone[self._heads] = True
        self._gone_ids.append(self._ids[self._heads])

    def _fill(self) -> None:
        """Replace the queues by the next rows after the cursors."""
        clusters = len(self._cursors.ids)
        # The old queues must not be held while the new ones are built.
        self._scores = np.empty(0, np.float32)
        self._rows = np.empty(0, np.int64)
        queues = self._fetch(self._cursors, self.k)
        self.passes += 1
        self.candidates = queues.rows
        self._complete = queues.complete
        used = np.arange(queues.ids.shape[1]) < queues.counts[:, None]
        self._ids, ranks = _ranked(queues.ids[used])
        self._gone = np.zeros(len(self._ids) + 1, bool)
        if self._gone_ids:
            self._gone[:-1] = np.isin(self._ids, np.concatenate(self._gone_ids))
        # One more column, which names no row, marks the end of every queue.
        width = queues.ids.shape[1] + 1
        self._rows = np.full((clusters, width), len(self._ids), np.int32)
        self._rows[:, :-1][used] = ranks
        self._scores = np.full((clusters, width), -np.inf, np.float32)
        self._scores[:, :-1][used] = queues.scores[used]
        self._start = np.arange(clusters) * width
        self._at = self._start.copy()
        self._heads = self._rows[:, 0]

    def _consumed(self) -> Cursors:
        """Cursors at the last row before each centroid's place; the old cursor where it has not moved."""
        moved = self._at > self._start
        last = np.where(moved, self._at - 1, self._at)
        rows = self._rows.take(last)
        scores = np.where(moved, self._scores.take(last), self._cursors.scores)
        ids = self._cursors.ids.copy()
        ids[moved] = self._ids[rows[moved]]
        return Cursors(scores, ids)


def _ranked(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The distinct ids, ascending, and the place among them of each id given, int32.

    `np.unique` and `np.searchsorted` find the same, ten times as slowly: they jump about in memory.
    """
    order = np.argsort(ids)
    ordered = ids[order]
    is_new = np.diff(ordered, prepend=-1) != 0
    ranks = np.empty(len(ids), np.int32)
    ranks[order] = np.cumsum(is_new, dtype=np.int32) - 1
    return ordered[is_new], ranks
