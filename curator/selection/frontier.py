"""The frontier: each centroid's best row that is not chosen or skipped yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.search import Cursors, TopK

__all__ = ["LEAST_K", "ROOM", "BestRows", "Fetch", "Frontier", "first_k", "k_limit"]

# Reads the pool once: numbers of centroids, int64, the cursor of each, and k, to the top-k after the cursors.
Fetch: TypeAlias = Callable[[NDArray[np.int64], Cursors, int], TopK]

# Rows of all centroids together that are held: within 1 GiB. 62 bytes a row were measured at the peak, where a scan's
# top-k is put beside what is held; 35 while a scan merges top-k.
ROOM = (1 << 30) // 60
LEAST_K = 500
# Where the budget is known: rows of all centroids together, and of each, at least.
LEAST_ROWS = 50_000
LEAST_OF_EACH = 128
# Rows of a centroid that are looked at ahead where its best one was refused.
ROWS_BEHIND = 64
# Where there is room for it, so many times the rows are read that a steady pace would need: the pace grows, as more and
# more of the rows were taken by others.
AHEAD = 2


def k_limit(clusters: int) -> int:
    """The most rows per centroid that there is room for."""
    return max(1, ROOM // clusters)


def first_k(clusters: int, budget: int | None) -> int:
    """How many rows per centroid the first pass keeps.

    A centroid's top-k loses its own rows and those that others took before it: at a budget of a hundredth of the
    pool up to 7 times its share of 100 centroids and 19 times of 700 in what was measured, less at smaller ones. More
    rows cost time and memory, too few cost a second pass over the pool; the result of a selection never depends on it.
    """
    if budget is None:
        return min(LEAST_K, k_limit(clusters))
    least = max(LEAST_OF_EACH, min(LEAST_K, LEAST_ROWS // clusters))
    return min(max(least, (12 + clusters // 60) * -(-budget // clusters)), k_limit(clusters))


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

    Then only for the centroids that will need more, as far as the rows that each has left behind tell.

    Args:
        fetch: reads the pool.
        clusters: number of centroids.
        k: rows per centroid that the first pass keeps, if there is room.
        budget: how many rows will be removed in all, those skipped apart; None if nobody knows.
        room: rows of all centroids together that are held.

    Attributes:
        passes: how often the pool was read.
        k: rows per centroid kept by the last pass.
        candidates: rows of the pool.
        exhausted: whether `best_in_memory` saw that every row of the pool was removed.
    """

    def __init__(self, fetch: Fetch, clusters: int, k: int, budget: int | None = None, room: int = ROOM) -> None:
        self.passes = 0
        self.k = 0
        self.candidates = 0
        self.exhausted = False
        self._fetch = fetch
        self._budget = budget
        self._room = room
        # Behind the last row that was read of each centroid.
        self._cursors = Cursors.start(clusters)
        self._complete = np.zeros(clusters, bool)
        self._left_behind = np.zeros(clusters, np.int64)
        self._removed_ids: list[NDArray[np.int64]] = []
        self._skipped = 0
        self._hold(_Rows.none())
        self._read(np.arange(clusters), max(1, min(k, room // clusters)))

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
            self._read(*self._needed(empty))

    def best_in_memory(self) -> BestRows | None:
        """As `best`, without reading the pool: None too where the top-k of a centroid ends."""
        empty = self._advance()
        self.exhausted = bool(self._complete[empty].any())
        return None if empty.any() else self._best_rows()

    def behind(self, centroid: int) -> NDArray[np.int64]:
        """Ids of the next rows of one centroid behind its best one, at most 64, those not removed."""
        at = int(self._at[centroid])
        places = np.arange(at + 1, at + 1 + ROWS_BEHIND)
        return self._ids_of(places[places < int(self._end[centroid])])

    def upcoming(self, rounds: int, count: int) -> NDArray[np.int64]:
        """Ids of the next rows of centroids behind their best ones, `rounds` of each or `count`, those not removed."""
        steps = np.arange(1, 1 + max(rounds, count // len(self._at)))
        return self._ids_of(np.minimum(self._at + steps[:, None], self._end).reshape(-1))

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

    def skip(self, centroid: int) -> None:
        """Remove the best row of one centroid, for all centroids; it does not count towards the budget."""
        row = self._best[centroid]
        self._skipped += 1
        self._removed[row] = True
        self._removed_ids.append(self._ids[row : row + 1])

    def remove_all(self) -> None:
        """Remove the best rows of all centroids."""
        self._removed[self._best] = True
        self._removed_ids.append(self._ids[self._best])

    def _needed(self, empty: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
        """The centroids to read on for, those without rows among them, and how many rows for each."""
        left_behind, held = self._left_behind + self._used(), self._held()
        removed = len(np.unique(np.concatenate(self._removed_ids))) if self._removed_ids else 0
        chosen = removed - self._skipped
        # Without a budget the pool is read whenever as many rows were removed as in all before.
        to_come = float(removed)
        if self._budget and chosen:
            to_come = max(self._budget - chosen, chosen // 4) * removed / chosen
        # However much is held, each pass goes on by some rows.
        room = max(self._room - int(held.sum()), self._room // 4)
        needed = AHEAD * left_behind * (to_come / max(removed, 1))
        while True:
            lacking = np.ceil(needed).astype(np.int64) - held
            lines = np.flatnonzero(((lacking > 0) & ~self._complete) | empty)
            k = max(1, int(lacking[lines].max()))
            fits = room // len(lines)
            if k <= fits or needed.max() < 1:
                return lines, max(1, min(k, fits))
            needed *= 0.8

    def _read(self, lines: NDArray[np.int64], k: int) -> None:
        """Read the next rows of some centroids, behind those that are held."""
        self.k = k
        top_k = self._fetch(lines, Cursors(self._cursors.scores[lines], self._cursors.ids[lines]), k)
        self.passes += 1
        self.candidates = top_k.rows
        self._complete[lines] = top_k.complete
        last = np.flatnonzero(top_k.counts)
        self._cursors.scores[lines[last]] = top_k.scores[last, top_k.counts[last] - 1]
        self._cursors.ids[lines[last]] = top_k.ids[last, top_k.counts[last] - 1]
        used = np.arange(top_k.ids.shape[1]) < top_k.counts[:, None]
        read = _Rows(np.repeat(lines, top_k.counts).astype(np.int32), top_k.ids[used], top_k.scores[used])
        del top_k, used
        self._left_behind += self._used()
        self._hold(self._unused().then(read))

    def _hold(self, rows: _Rows) -> None:
        """Hold these rows, those of each centroid in order, and no others."""
        counts = np.bincount(rows.lines, minlength=len(self._complete))
        self._ids, ranks = _ranked(rows.ids)
        self._removed = np.zeros(len(self._ids) + 1, bool)
        if self._removed_ids:
            self._removed[:-1] = np.isin(self._ids, np.concatenate(self._removed_ids))
        # One more place, which names no row, marks the end of every centroid's rows.
        self._end = np.cumsum(counts + 1) - 1
        self._start = self._end - counts
        self._rows = np.full(len(ranks) + len(counts), len(self._ids), np.int32)
        self._scores = np.full(len(self._rows), -np.inf, np.float32)
        order = np.argsort(rows.lines, kind="stable")
        places = np.arange(len(order)) + rows.lines[order]
        self._rows[places], self._scores[places] = ranks[order], rows.scores[order]
        self._at = self._start.copy()
        self._best = self._rows.take(self._at)

    def _is_unused(self) -> NDArray[np.bool_]:
        """Of each place, whether a row stands there that was not removed."""
        return ~self._removed.take(self._rows) & (self._rows < len(self._ids))

    def _held(self) -> NDArray[np.int64]:
        """How many rows of each centroid were not removed, int64 (K,)."""
        return np.add.reduceat(self._is_unused(), self._start, dtype=np.int64)

    def _used(self) -> NDArray[np.int64]:
        """How many rows of each centroid were removed since the pool was read, int64 (K,)."""
        used: NDArray[np.int64] = self._end - self._start - self._held()
        return used

    def _unused(self) -> _Rows:
        places = np.flatnonzero(self._is_unused())
        lines = np.searchsorted(self._end, places).astype(np.int32)
        return _Rows(lines, self._ids[self._rows[places]], self._scores[places])


class _Rows(NamedTuple):
    """Rows of centroids.

    Attributes:
        lines: int32 (n,), the number of the centroid.
        ids: int64 (n,).
        scores: float32 (n,).
    """

    lines: NDArray[np.int32]
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def none(cls) -> _Rows:
        """No rows."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32))

    def then(self, others: _Rows) -> _Rows:
        """These, and others behind them."""
        if not len(self.ids):
            return others
        lines, ids = np.concatenate([self.lines, others.lines]), np.concatenate([self.ids, others.ids])
        return _Rows(lines, ids, np.concatenate([self.scores, others.scores]))


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
