"""The frontier: each centroid's best row that is not chosen or skipped yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search import Cursors, TopK

__all__ = ["LEAST_K", "BestRows", "Fetch", "Frontier", "first_k", "k_limit"]

# Reads the pool once: cursors and k to the top-k after them. `best_rows` on one machine, or a job of many.
Fetch: TypeAlias = Callable[[Cursors, int], TopK]

TOP_K_BYTES = 1 << 30
# At the peak of a scan, where the old and the new top-k are held: 12 each, newcomers, and what sorting takes.
ENTRY_BYTES = 40
LEAST_K = 500
# Rows of a centroid that are looked at ahead where its best one was refused.
ROWS_BEHIND = 64


def k_limit(clusters: int) -> int:
    """The most rows per centroid that a scan keeps within 1 GiB."""
    return max(1, TOP_K_BYTES // (ENTRY_BYTES * clusters))


def first_k(clusters: int, budget: int | None) -> int:
    """How many rows per centroid the first pass keeps.

    A centroid's top-k loses its own rows and those that others took before it: at a budget of a hundredth of the
    pool up to eight times its share in what was measured, less at smaller ones. More rows cost time and memory, too
    few cost a second pass over the pool; the result of a selection never depends on it.
    """
    share = -(-(budget or 0) // clusters)
    return min(max(LEAST_K, 12 * share), k_limit(clusters))


class BestRows(NamedTuple):
    """The row that each centroid would take next.

    Attributes:
        scores: float32 (K,).
        ids: int64 (K,); several centroids may have the same row.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]


class Frontier:
    """The top-k of all centroids, without the rows that were removed. Reads the pool again where rows run out early.

    Attributes:
        passes: how often the pool was read.
        k: rows per centroid kept by the last pass.
        candidates: rows of the pool.
        exhausted: whether `best_in_memory` saw that every row of the pool was removed.
    """

    def __init__(self, fetch: Fetch, clusters: int, k: int) -> None:
        self.passes = 0
        self.k = min(k, k_limit(clusters))
        self.candidates = 0
        self.exhausted = False
        self._fetch = fetch
        self._cursors = Cursors.start(clusters)
        self._removed_ids: list[NDArray[np.int64]] = []
        self._fill()

    def best(self) -> BestRows | None:
        """Each centroid's best row that was not removed; None if every row of the pool was.

        Cost K per row that was removed since the last call and is the best of a centroid.
        """
        while True:
            empty = self._advance()
            if not empty.any():
                return self._best_rows()
            # All centroids see the same rows, so one that has seen its last means there are none left.
            if self._complete[empty].any():
                return None
            self._cursors = self._consumed()
            self.k = min(2 * self.k, k_limit(len(empty)))
            self._fill()

    def best_in_memory(self) -> BestRows | None:
        """As `best`, without reading the pool: None too where the top-k of a centroid ends."""
        empty = self._advance()
        self.exhausted = bool(self._complete[empty].any())
        return None if empty.any() else self._best_rows()

    def behind(self, centroid: int) -> NDArray[np.int64]:
        """Ids of the next rows of one centroid behind its best one, at most 64, those not removed."""
        at = int(self._at[centroid])
        places = np.arange(at + 1, at + 1 + ROWS_BEHIND)
        return self._ids_of(places[places < int(self._start[centroid]) + self._rows.shape[-1]])

    def upcoming(self, count: int) -> NDArray[np.int64]:
        """Ids of the next rows of centroids behind their best ones, at most `count`, those not removed."""
        steps = np.arange(1, 1 + max(1, count // len(self._at)))
        places = self._at + steps[:, None]
        return self._ids_of(np.minimum(places, self._start + self._rows.shape[-1] - 1).reshape(-1)[:count])

    def _ids_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = self._rows.take(places)
        return self._ids[rows[(rows < len(self._ids)) & ~self._removed[rows]]]

    def _advance(self) -> NDArray[np.bool_]:
        """Move each centroid to its first row that was not removed; bool (K,), True where its top-k has none."""
        rows = self._rows.take(self._at)
        stale = self._removed.take(rows)
        while stale.any():
            self._at += stale
            rows = self._rows.take(self._at)
            stale = self._removed.take(rows)
        self._best = rows
        return np.asarray(rows == len(self._ids))

    def _best_rows(self) -> BestRows:
        return BestRows(self._scores.take(self._at), self._ids.take(self._best))

    def remove(self, centroid: int) -> None:
        """Remove the best row of one centroid, for all centroids."""
        row = self._best[centroid]
        self._removed[row] = True
        self._removed_ids.append(self._ids[row : row + 1])

    def remove_all(self) -> None:
        """Remove the best rows of all centroids."""
        self._removed[self._best] = True
        self._removed_ids.append(self._ids[self._best])

    def _fill(self) -> None:
        """Replace the top-k by the next rows after the cursors."""
        clusters = len(self._cursors.ids)
        # The old top-k must not be held while the new one is built.
        self._scores = np.empty(0, np.float32)
        self._rows = np.empty(0, np.int64)
        top_k = self._fetch(self._cursors, self.k)
        self.passes += 1
        self.candidates = top_k.rows
        self._complete = top_k.complete
        used = np.arange(top_k.ids.shape[1]) < top_k.counts[:, None]
        self._ids, ranks = _ranked(top_k.ids[used])
        self._removed = np.zeros(len(self._ids) + 1, bool)
        if self._removed_ids:
            self._removed[:-1] = np.isin(self._ids, np.concatenate(self._removed_ids))
        # One more column, which names no row, marks the end of every centroid's rows.
        width = top_k.ids.shape[1] + 1
        self._rows = np.full((clusters, width), len(self._ids), np.int32)
        self._rows[:, :-1][used] = ranks
        self._scores = np.full((clusters, width), -np.inf, np.float32)
        self._scores[:, :-1][used] = top_k.scores[used]
        self._start = np.arange(clusters) * width
        self._at = self._start.copy()
        self._best = self._rows[:, 0]

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
