"""The nearest centroid of each row, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.float16 import widen
from curator.search.pool import Floats, check_finite, check_rows
from curator.search.scan import BLOCK_ROWS, blocks, check_centroids
from curator.search.scoring import exact_pairs, margin, propose, row_norms

__all__ = ["best_similarity", "nearest", "nearest_in_block"]


def best_similarity(rows: Floats, centroids: Floats) -> NDArray[np.float32]:
    """The best score of each row: the first half of `nearest`."""
    return nearest(rows, centroids)[0]


def nearest(rows: Floats, centroids: Floats) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The centroid with the best score of each row.

    Args:
        rows: float16 or float32 (n, d).
        centroids: float32 (K, d).

    Returns:
        float32 (n,), the score, as `curator.search.scoring.exact_scores` defines it; int64 (n,), the lowest of the
        centroids that have it. Cost 2nKd; memory of some blocks.

    Raises:
        InputError: rows and centroids do not fit each other.
        CuratorError: a row holds NaN or infinity.

    >>> nearest(np.eye(2, dtype=np.float32), np.array([[3, 4]], np.float32) / 5)[0]
    array([0.6, 0.8], dtype=float32)
    """
    check_centroids(centroids)
    check_rows(0, rows, centroids.shape[1])
    scores, places = np.empty(len(rows), np.float32), np.empty(len(rows), np.int64)
    for first, block in blocks(0, rows, len(centroids), BLOCK_ROWS):
        here = slice(first, first + len(block))
        scores[here], places[here] = nearest_in_block(first, block, centroids)
    return scores, places


def nearest_in_block(first: int, rows: Floats, centroids: Floats) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """As `nearest`, for a block of a part: `first` is the id of its first row, for messages."""
    rows = widen(rows)
    norms = row_norms(rows)
    check_finite(first, norms)
    proposed = propose(rows, norms, centroids)
    # The best proposed score and the exact one of the best are each within one error of the other's centroid.
    rivals = proposed >= proposed.max(axis=0) - np.float32(2 * margin(centroids))
    centroid_of, row_of = np.nonzero(rivals)
    scores = exact_pairs(rows, norms, centroids, row_of, centroid_of)
    order = np.lexsort((centroid_of, -scores, row_of))
    winners = order[np.flatnonzero(np.diff(row_of[order], prepend=-1))]
    return scores[winners], centroid_of[winners].astype(np.int64)
