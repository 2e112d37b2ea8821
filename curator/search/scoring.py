"""What a score is, to the last bit, and a fast way to propose which scores are worth computing.

A score is the dot product of a row and a centroid divided by the row's norm: float64, summed over the
dimensions in index order, rounded to float32. A product of two float32 numbers is exact in float64, so only
the order of the sum matters, and that is fixed here. A matrix product fixes it nowhere: block shape and
thread count change its last bits. So float32 matrix products only propose rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.float16 import few_at_a_time
from curator.search.pool import Floats

__all__ = ["MARGIN", "exact_pairs", "exact_scores", "margin", "propose", "row_norms", "sum_in_order"]

# The least distance at which a proposed score is told from a lower or upper bound.
MARGIN = 1e-5
# Pairs scored at once: their float64 products stay in the processor's cache up to some 500 dimensions.
CHUNK = 1024


def exact_scores(rows: Floats, centroids: Floats) -> NDArray[np.float32]:
    """Scores of rows and centroids, paired by position. This function defines the score.

    Args:
        rows: float16 or float32 (n, d).
        centroids: float32 (n, d).

    Returns:
        float32 (n,); 0 for a row of zero length. About 3 ns per pair and dimension, 16 KiB x d of memory.

    >>> exact_scores(np.array([[3, 4]], np.float16), np.array([[1, 0]], np.float32))
    array([0.6], dtype=float32)
    """
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        row = rows[chunk].astype(np.float64)
        dot = sum_in_order(row * centroids[chunk].astype(np.float64))
        norm = np.sqrt(sum_in_order(row * row))
        scores[chunk] = np.divide(dot, norm, out=np.zeros_like(dot), where=norm > 0)
    return scores


def sum_in_order(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of float64 (n, d) over d, strictly from the first dimension to the last."""
    # np.sum adds pairwise, and BLAS as it likes; a plain loop over dimensions leaves no freedom.
    total = np.zeros(len(products))
    for column in np.ascontiguousarray(products.T):
        total += column
    return total


def exact_pairs(
    rows: Floats,
    norms: NDArray[np.float64],
    centroids: Floats,
    row_of: NDArray[np.integer[Any]],
    centroid_of: NDArray[np.integer[Any]],
) -> NDArray[np.float32]:
    """Scores of chosen pairs: `exact_scores(rows[row_of], centroids[centroid_of])`, four times as fast.

    A float64 sum in any order is within a known distance of the sum in index order. Where both ends of that
    interval round to the same float32, so does the score; the few other pairs are summed in order.

    Args:
        rows: float16 or float32 (n, d).
        norms: float64 (n,), from `row_norms`.
        centroids: float32 (K, d).
        row_of: integers (pairs,) into rows.
        centroid_of: integers (pairs,) into centroids.

    Returns:
        float32 (pairs,).
    """
    slack = 4 * (rows.shape[1] + 4) * 2.0**-53 * _longest(centroids)
    wide = centroids.astype(np.float64)
    lengths = np.where(norms > 0, norms, 1.0)
    scores = np.empty(len(row_of), np.float32)
    for start in range(0, len(row_of), CHUNK):
        chunk = slice(start, start + CHUNK)
        row, centroid = row_of[chunk], centroid_of[chunk]
        close = np.vecdot(rows[row], wide[centroid]) / lengths[row]
        scores[chunk] = close - slack
        unsure = np.flatnonzero(scores[chunk] != (close + slack).astype(np.float32))
        if len(unsure):
            scores[start + unsure] = exact_scores(rows[row[unsure]], centroids[centroid[unsure]])
    return scores


def row_norms(rows: Floats) -> NDArray[np.float64]:
    """Lengths of rows, summed in whatever order is fast.

    Args:
        rows: float16 or float32 (n, d).

    Returns:
        float64 (n,).
    """
    squares = np.empty(len(rows))
    for some in few_at_a_time(rows):
        wide = rows[some].astype(np.float64)
        np.vecdot(wide, wide, out=squares[some])
    return np.sqrt(squares, out=squares)


def propose(rows: Floats, norms: NDArray[np.float64], centroids: Floats) -> NDArray[np.float32]:
    """Scores of all pairs, each within `margin` of the exact one, by a float32 matrix product.

    Args:
        rows: float32 (n, d).
        norms: float64 (n,), from `row_norms`.
        centroids: float32 (K, d).

    Returns:
        float32 (K, n): one contiguous line per centroid, since bounds are applied by centroid. Cost 2nKd.
    """
    inverse = 1.0 / np.where(norms > 0, norms, 1.0)
    # Beyond these lengths float32 would lose bits to underflow or overflow.
    is_usual = len(norms) == 0 or (inverse.max() < 1e15 and inverse.min() > 1e-15)
    if is_usual and len(centroids) < rows.shape[1]:
        # The scores are fewer than the rows' numbers.
        product: NDArray[np.float32] = centroids @ rows.T
        product *= inverse.astype(np.float32)
        return product
    unit = rows * (inverse.astype(np.float32) if is_usual else inverse)[:, None]
    return np.asarray(centroids @ unit.astype(np.float32, copy=False).T)


def margin(centroids: Floats) -> float:
    """How far a proposed score may lie from the exact one.

    A float32 sum of d products errs by at most d x 2^-24 of the lengths in any order (Higham, "Accuracy and
    Stability of Numerical Algorithms", 3.1); twice that also covers the scaling of rows or scores, and of centroids.

    Args:
        centroids: float32 (K, d).

    Returns:
        `MARGIN`, or the bound above where many dimensions or long centroids make it larger.
    """
    bound: float = 2 * (centroids.shape[1] + 8) * 2.0**-24
    return max(MARGIN, bound) * _longest(centroids)


def _longest(centroids: Floats) -> float:
    return float(row_norms(centroids).max(initial=1.0))
