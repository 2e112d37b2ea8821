"""The best rows of every centroid: what a scan of the pool returns, and how several scans become one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cursors", "TopK", "TopKMerger", "merge"]

NO_ROW = np.iinfo(np.int64).max
MERGE_FANIN = 64
# Entries sorted at once in a merge: bounds its scratch memory, some 50 bytes each.
MERGE_ENTRIES = 1 << 21


@dataclass(frozen=True, slots=True)
class Cursors:
    """Where each centroid stands in the order (score descending, id ascending): only rows strictly after it count.

    A score alone is not enough: many rows share one.

    Attributes:
        scores: float32 (K,).
        ids: int64 (K,).
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]

    @classmethod
    def start(cls, clusters: int) -> Cursors:
        """Before the first row, for `clusters` centroids."""
        return cls(np.full(clusters, np.inf, np.float32), np.full(clusters, -1, np.int64))

    def take(self, lines: slice) -> Cursors:
        """Those of some of the centroids, as views."""
        return Cursors(self.scores[lines], self.ids[lines])


@dataclass(frozen=True, slots=True)
class TopK:
    """The best `k` rows after each centroid's cursor, among the rows seen.

    Attributes:
        scores: float32 (K, width <= k), descending; -inf behind a centroid's last row.
        ids: int64 (K, width), ascending where scores are equal; `NO_ROW` behind a centroid's last row.
        counts: int64 (K,), the number of rows held for each centroid.
        eligible: int64 (K,), rows seen that lie after the cursor.
        rows: rows seen.
        k: most rows for one centroid.
        floor: a score; rows below it may have been left out of any line, and none is held. -inf where none were.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    counts: NDArray[np.int64]
    eligible: NDArray[np.int64]
    rows: int
    k: int
    floor: float = -math.inf

    @classmethod
    def empty(cls, clusters: int, k: int) -> TopK:
        """The top-k of no rows."""
        scores = np.empty((clusters, 0), np.float32)
        ids = np.empty((clusters, 0), np.int64)
        return cls(scores, ids, np.zeros(clusters, np.int64), np.zeros(clusters, np.int64), 0, k)

    @classmethod
    def stack(cls, groups: Sequence[TopK]) -> TopK:
        """The top-k of groups of centroids, one behind the other: of the same rows and k, and without a floor."""
        if len(groups) == 1:
            return groups[0]
        width = max(group.scores.shape[1] for group in groups)
        lines = sum(len(group.counts) for group in groups)
        scores, ids = np.full((lines, width), -np.inf, np.float32), np.full((lines, width), NO_ROW, np.int64)
        start = 0
        for group in groups:
            some = (slice(start, start + len(group.counts)), slice(group.scores.shape[1]))
            scores[some], ids[some] = group.scores, group.ids
            start += len(group.counts)
        counts = np.concatenate([group.counts for group in groups])
        eligible = np.concatenate([group.eligible for group in groups])
        return cls(scores, ids, counts, eligible, groups[0].rows, groups[0].k)

    def take(self, lines: slice) -> TopK:
        """The top-k of some of the centroids, as views."""
        columns = (self.scores[lines], self.ids[lines], self.counts[lines], self.eligible[lines])
        return TopK(*columns, self.rows, self.k, self.floor)

    def above(self, floor: float) -> TopK:
        """The same without the rows below a score."""
        if floor <= self.floor:
            return self
        counts = np.count_nonzero(self.scores >= floor, axis=1)
        width = int(counts.max(initial=0))
        held = np.arange(width) < counts[:, None]
        scores = np.where(held, self.scores[:, :width], np.float32(-np.inf))
        ids = np.where(held, self.ids[:, :width], NO_ROW)
        return TopK(scores, ids, counts, self.eligible, self.rows, self.k, floor)

    def narrowed(self, k: int) -> TopK:
        """The best `k` rows only, as views; itself where it holds no more."""
        if k >= self.k:
            return self
        counts = np.minimum(self.counts, k)
        return TopK(self.scores[:, :k], self.ids[:, :k], counts, self.eligible, self.rows, k, self.floor)

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Per centroid, bool (K,): True where no row seen lies behind those held."""
        return np.equal(self.counts, self.eligible)

    @property
    def lower_bound(self) -> NDArray[np.float32]:
        """Per centroid, float32 (K,): the score below which no further row can enter; -inf while there is room."""
        if self.scores.shape[1] < self.k:
            return np.full(len(self.scores), self.floor, np.float32)
        return np.maximum(self.scores[:, self.k - 1], np.float32(self.floor))


def top_k_of_pairs(
    centroid_of: NDArray[np.int64],
    scores: NDArray[np.float32],
    ids: NDArray[np.int64],
    eligible: NDArray[np.int64],
    rows: int,
    k: int,
) -> TopK:
    """The top-k of scored pairs.

    Args:
        centroid_of: int64 (pairs,), ascending.
        scores: float32 (pairs,).
        ids: int64 (pairs,).
        eligible: int64 (K,), rows of the block that lie after the cursor.
        rows: rows of the block.
        k: most rows for one centroid.
    """
    clusters = len(eligible)
    counts = np.bincount(centroid_of, minlength=clusters)
    place = np.arange(len(centroid_of)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = int(counts.max(initial=0))
    table = np.full((clusters, width), -np.inf, np.float32)
    names = np.full((clusters, width), NO_ROW, np.int64)
    table[centroid_of, place] = scores
    names[centroid_of, place] = ids
    loose = TopK(table, names, np.minimum(counts, k), eligible, rows, k)
    return merge(loose)


def merge(*parts: TopK) -> TopK:
    """One top-k from several of different rows, in any order: the same as if one scan had seen all.

    Args:
        parts: at least one; all of the same centroids, cursors and k.

    Returns:
        a top-k as wide as its longest line. Cost K x total width x log; the parts are left as they are.
    """
    k = parts[0].k
    counts = np.minimum(np.sum([part.counts for part in parts], axis=0), k)
    width = int(counts.max(initial=0))
    scores = np.empty((len(counts), width), np.float32)
    ids = np.empty((len(counts), width), np.int64)
    total = sum(part.scores.shape[1] for part in parts)
    step = max(1, MERGE_ENTRIES // max(1, total))
    for start in range(0, len(counts), step):
        lines = slice(start, start + step)
        all_scores = np.concatenate([part.scores[lines] for part in parts], axis=1)
        all_ids = np.concatenate([part.ids[lines] for part in parts], axis=1)
        order = _order(all_scores, all_ids)[:, :width]
        scores[lines] = np.take_along_axis(all_scores, order, axis=1)
        ids[lines] = np.take_along_axis(all_ids, order, axis=1)
    eligible = np.sum([part.eligible for part in parts], axis=0)
    merged = TopK(scores, ids, counts, eligible, sum(part.rows for part in parts), k)
    return merged.above(max(part.floor for part in parts))


class TopKMerger:
    """Merges top-k that arrive one after another, several at a time.

    Sorting all rows of a centroid for a handful of newcomers would cost more than the scan that found them.

    Args:
        clusters: the number of centroids.
        k: most rows for one centroid.
        total: how many rows of all centroids together are enough, where each row stands in one line only; None for no
            limit. Rows below the score of the last of so many are left out, and that score is the floor.
    """

    def __init__(self, clusters: int, k: int, total: int | None = None) -> None:
        self._k = k
        self._total = total
        self._best = TopK.empty(clusters, k)
        self._waiting: list[TopK] = []
        self._width = 0
        self._rows = 0

    @property
    def lower_bound(self) -> NDArray[np.float32]:
        """Of what is merged so far; see `TopK.lower_bound`."""
        return self._best.lower_bound

    def add(self, top_k: TopK) -> None:
        """Take the top-k of further rows."""
        self._waiting.append(top_k)
        self._width += top_k.scores.shape[1]
        self._rows += int(top_k.counts.sum())
        crowded = self._total is not None and self._rows > self._total // 4
        if crowded or self._width >= self._k // 2 or len(self._waiting) >= MERGE_FANIN:
            self.merged()

    def merged(self) -> TopK:
        """The top-k of all rows so far."""
        if self._waiting:
            self._best = merge(self._best, *self._waiting)
            self._waiting, self._width, self._rows = [], 0, 0
            if self._total is not None:
                self._best = self._best.above(_score_of(self._best, self._total))
        return self._best


def _score_of(top_k: TopK, place: int) -> float:
    """The score of the row at a place, from 1, in the order of all rows held; -inf if there are fewer."""
    held = top_k.scores[top_k.scores > -np.inf]
    return float(np.partition(held, len(held) - place)[len(held) - place]) if len(held) >= place else -math.inf


def _order(scores: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Per line of (K, n), the places in the order (score descending, id ascending)."""
    order = np.argsort(-scores, axis=1)
    ranked = np.take_along_axis(scores, order, axis=1)
    # An unstable sort by score and a second one of the few equal scores takes a tenth of a lexsort's time.
    same = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] > -np.inf)
    tied = np.zeros(scores.shape, bool)
    tied[:, 1:] = same
    tied[:, :-1] |= same
    line, place = np.nonzero(tied)
    if len(line):
        column = order[line, place]
        again = np.lexsort((ids[line, column], -ranked[line, place], line))
        order[line, place] = column[again]
    return order
