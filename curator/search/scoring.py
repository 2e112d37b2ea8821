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

from curator.search.pool import Floats

__all__ = ["MARGIN", "exact_pairs", "exact_scores", "margin", "propose", "row_norms", "sum_in_order", "widen"]

# The least distance at which a proposed score is told from a lower or upper bound.
MARGIN = 1e-5
# Pairs scored at once: their float64 products stay in the processor's cache up to some 500 dimensions.
CHUNK = 1024
# Numbers widened at once: they stay in the processor's cache from one step to the next.
WIDEN_NUMBERS = 1 << 16
# The sign bit, and the 15 others of a float16 moved up by 13 places (0x8FFFE000).
SIGN_AND_HALF = np.int32(-0x70002000)


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


def widen(rows: Floats) -> NDArray[np.float32]:
    """`np.asarray(rows, np.float32)`, for float16 some six times as fast as numpy's conversion number by number.

    The 15 bits of exponent and fraction, 13 places further up, are a float32 of the same fraction whose exponent is
    too small by the difference of the two formats' biases, 112: a product with 2^112 is exact, denormals included.

    Args:
        rows: float16 or float32 (n, d).
    """
    if rows.dtype != np.float16:
        return np.asarray(rows, np.float32)
    wide = np.empty(rows.shape, np.float32)
    step = max(1, WIDEN_NUMBERS // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        narrow, block = rows[start : start + step], wide[start : start + step]
        bits = block.view(np.int32)
        bits[...] = narrow.view(np.int16)
        bits <<= 13
        bits &= SIGN_AND_HALF
        block *= np.float32(2.0**112)
        # What stands for infinity and NaN in float16 has become a number above all others.
        if block.size and not (block.min() > -65536 and block.max() < 65536):
            block[...] = narrow
    return wide


def row_norms(rows: Floats) -> NDArray[np.float64]:
    """Lengths of rows, summed in whatever order is fast.

    Args:
        rows: float16 or float32 (n, d).

    Returns:
        float64 (n,).
    """
    norms: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return norms


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
    unit = rows * (inverse.astype(np.float32) if is_usual else inverse)[:, None]
    return np.asarray(centroids @ unit.astype(np.float32, copy=False).T)


def margin(centroids: Floats) -> float:
    """How far a proposed score may lie from the exact one.

    A float32 sum of d products errs by at most d x 2^-24 of the lengths in any order (Higham, "Accuracy and
    Stability of Numerical Algorithms", 3.1); twice that also covers the scaling of rows and centroids.

    Args:
        centroids: float32 (K, d).

    Returns:
        `MARGIN`, or the bound above where many dimensions or long centroids make it larger.
    """
    bound: float = 2 * (centroids.shape[1] + 8) * 2.0**-24
    return max(MARGIN, bound) * _longest(centroids)


def _longest(centroids: Floats) -> float:
    return float(row_norms(centroids).max(initial=1.0))
