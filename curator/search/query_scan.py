"""The best pool rows of some query rows, found while the pool is read for something else.

queries that are centroids of the pass -> their top-k is there already
the others -> scored with the rows of each part as it is read
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.search.pool import Floats, Pool
from curator.search.scan import check_centroids, scan_part
from curator.search.top_k import NO_ROW, Cursors, TopK, TopKMerger

__all__ = ["QueryScan", "watched"]


class QueryScan:
    """Keeps the best `k` pool rows of each query, from the first pass over the pool that is read to its end.

    A pass calls `begin`, then `scan` for each part, or `add` for what workers scanned with `left`, then `end`. It may
    be broken off; the next one begins anew. The answer is that of `best_rows`, whatever the centroids of the pass.

    Args:
        queries: float32 (n, d), unit rows.
        k: how many rows to keep for each.

    Attributes:
        k: the same.
        left: float32 (m, d), the queries that the pass at hand has to score: those that are none of its centroids.
        top_k: the answer, one line a query; None until a pass has come to its end.
        reading: True between `begin` and `end`.
    """

    def __init__(self, queries: NDArray[np.float32], k: int) -> None:
        check_centroids(queries)
        self.k = k
        self.top_k: TopK | None = None
        self.reading = False
        self.left = queries
        self._queries = queries
        self._centroid_of = np.full(len(queries), -1, np.int64)
        self._merger = TopKMerger(len(queries), k)

    def begin(self, centroids: Floats | None = None, k: int = 0) -> None:
        """A pass begins which keeps the best `k` rows of these centroids, float32 (K, d), before any cursor."""
        self._centroid_of = np.full(len(self._queries), -1, np.int64)
        if centroids is not None and k >= self.k:
            places = {row.tobytes(): place for place, row in enumerate(centroids)}
            self._centroid_of = np.array([places.get(row.tobytes(), -1) for row in self._queries], np.int64)
        self.left = self._queries[self._centroid_of < 0]
        self._merger = TopKMerger(len(self.left), self.k)
        self.reading = True

    @property
    def lower_bound(self) -> NDArray[np.float32]:
        """Scores below which further rows are of no use, float32 (m,): one for each of those left."""
        return self._merger.lower_bound

    @property
    def found(self) -> TopK:
        """The best rows so far, of those left."""
        return self._merger.merged()

    def scan(self, part: int, rows: Floats) -> None:
        """Score a part of the pool, float16 or float32 (n, d)."""
        if len(self.left):
            self.add(scan_part(part, rows, self.left, self.k, Cursors.start(len(self.left)), self.lower_bound))

    def add(self, top_k: TopK) -> None:
        """Take the best rows, of those left, that were found elsewhere."""
        self._merger.add(top_k)

    def end(self, centroids: TopK | None = None) -> None:
        """The pass is at its end, and found this top-k of its centroids."""
        scanned = self._merger.merged()
        scores = np.full((len(self._queries), self.k), -np.inf, np.float32)
        ids = np.full(scores.shape, NO_ROW, np.int64)
        counts, eligible = (np.zeros(len(self._queries), np.int64) for _ in range(2))
        for lines, source, places in self._sources(scanned, centroids):
            width = min(self.k, source.scores.shape[1])
            scores[lines, :width], ids[lines, :width] = source.scores[places, :width], source.ids[places, :width]
            counts[lines] = np.minimum(source.counts[places], self.k)
            eligible[lines] = source.eligible[places]
        self.top_k = TopK(scores, ids, counts, eligible, max(scanned.rows, centroids.rows if centroids else 0), self.k)
        self.reading = False

    def _sources(
        self, scanned: TopK, centroids: TopK | None
    ) -> Iterator[tuple[NDArray[np.int64], TopK, NDArray[np.int64]]]:
        """Lines of the answer, and the top-k and its lines that they are taken from."""
        left = np.flatnonzero(self._centroid_of < 0)
        yield left, scanned, np.arange(len(left))
        if centroids is not None:
            others = np.flatnonzero(self._centroid_of >= 0)
            yield others, centroids, self._centroid_of[others]


def watched(pool: Pool, queries: Sequence[QueryScan]) -> Pool:
    """The pool; whoever reads it to its end for the first time also scores these queries."""
    return _WatchedPool(pool, tuple(queries)) if queries else pool


@dataclass(frozen=True, slots=True)
class _WatchedPool:
    """See `watched`."""

    pool: Pool
    queries: tuple[QueryScan, ...]

    def parts(self) -> Iterator[tuple[int, Floats]]:
        """The pool's parts. A pass that someone else began is someone else's to end."""
        own = [scan for scan in self.queries if scan.top_k is None and not scan.reading]
        for scan in own:
            scan.begin()
        reading = [scan for scan in self.queries if scan.reading]
        try:
            for part, rows in self.pool.parts():
                for scan in reading:
                    scan.scan(part, rows)
                yield part, rows
        except BaseException:
            for scan in own:
                scan.reading = False
            raise
        for scan in own:
            scan.end()
