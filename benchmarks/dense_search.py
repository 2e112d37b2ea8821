"""All scores of a small pool at once: where the rounds go far into it, this is faster than the search in passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.search import Cursors, Floats, TopK

__all__ = ["DenseSearch"]


class DenseSearch:
    """Stands for the passes over a pool of one part: `run_rounds(DenseSearch(pool, centroids), ...)`.

    A score is a float64 product, rounded to float32. One in some hundred million may differ in its last bit from the
    sum in index order that the library defines.

    Args:
        pool: float16 or float32 (n, d).
        centroids: float32 (K, d), unit rows.
    """

    def __init__(self, pool: Floats, centroids: Floats) -> None:
        rows = pool.astype(np.float64)
        scores = centroids.astype(np.float64) @ rows.T
        scores /= np.sqrt(np.einsum("ij,ij->i", rows, rows))
        found = scores.astype(np.float32)
        # Of equal scores the lower id comes first.
        self._ids: NDArray[np.int64] = np.argsort(-found, axis=1, kind="stable")
        self._scores = np.take_along_axis(found, self._ids, axis=1)

    def __call__(self, lines: NDArray[np.int64], cursors: Cursors, k: int) -> TopK:
        """The best k rows of some centroids after their cursors."""
        of_line, ids_of_line = self._scores[lines], self._ids[lines]
        at, before = cursors.scores[:, None], cursors.ids[:, None]
        passed = (of_line > at) | ((of_line == at) & (ids_of_line <= before))
        eligible = passed.shape[1] - np.count_nonzero(passed, axis=1)
        counts = np.minimum(eligible, k)
        width = int(counts.max(initial=0))
        place = passed.shape[1] - eligible[:, None] + np.arange(width)
        place = np.minimum(place, passed.shape[1] - 1)
        held = np.arange(width) < counts[:, None]
        scores = np.where(held, np.take_along_axis(of_line, place, axis=1), np.float32(-np.inf))
        ids = np.where(held, np.take_along_axis(ids_of_line, place, axis=1), np.iinfo(np.int64).max)
        return TopK(scores, ids, counts, eligible, passed.shape[1], k)
