"""The exact best rows of a block of codes: bounds first, then the stored rows of those that the bounds leave open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curator.search import Cursors, Floats, TopK, check_finite, exact_pairs, margin, propose, ranked, row_norms
from curator.selection import ReadRows

__all__ = ["CodedRows", "scan_codes"]


class CodedRows(NamedTuple):
    """What is known of stored rows from their codes.

    Attributes:
        ids: int64 (n,), ascending.
        points: float32 (n, d), unit rows that stand for the stored ones.
        angles: float32 (n,), the largest angle between each point and its stored row; see `Codec.decode`.
    """

    ids: NDArray[np.int64]
    points: Floats
    angles: Floats


def scan_codes(
    coded: CodedRows,
    read_rows: ReadRows,
    centroids: Floats,
    k: int,
    cursors: Cursors,
    lower_bound: NDArray[np.float32],
) -> TopK:
    """The best rows of one block: those of `scan_block` over the rows themselves.

    Args:
        coded: the block.
        read_rows: reads stored rows by id; called with each row once, in order.
        centroids: float32 (K, d).
        k: the largest number of rows for each centroid.
        cursors: where each centroid stands.
        lower_bound: float32 (K,), the scores below which rows are of no use; -inf for none.
    """
    ids, points, angles = coded
    lower, upper = _bounds(propose(points, row_norms(points), centroids), angles, centroids)
    is_open, passed = _shortlist(lower, upper, k, cursors.scores, lower_bound)
    centroid_of, place = np.divmod(np.flatnonzero(is_open), max(1, len(ids)))
    used, row_of = np.unique(place, return_inverse=True)
    rows = np.asarray(read_rows(ids[used]), np.float32) if len(used) else points[:0]
    norms = row_norms(rows)
    for row in np.flatnonzero(~np.isfinite(norms)):
        check_finite(int(ids[used[row]]), norms[row : row + 1])
    scores = exact_pairs(rows, norms, centroids, row_of, centroid_of)
    return ranked(centroid_of, scores, ids[place], passed, len(ids), k, cursors, lower_bound)


def _bounds(proposed: Floats, angles: Floats, centroids: Floats) -> tuple[Floats, Floats]:
    """The lower and upper bounds of the exact scores; float32 (K, n) each.

    A row that is no further than t from its point scores at most cos(max(0, angle of centroid and point - t)),
    and by no more than the chord, which is shorter than t, less than the point. Both move by at most twice the
    error of the proposed score, since t is at most pi / 2 wherever the cosine is not the bound itself.
    """
    lengths = row_norms(centroids).astype(np.float32)[:, None]
    error = np.float32(2 * margin(centroids))
    cosine = np.clip(proposed / lengths, -1, 1)
    least = np.cos(angles)
    upper = cosine * least + np.sqrt(1 - cosine * cosine) * np.sin(angles)
    upper[cosine > least] = 1
    return proposed - (lengths * angles + error), upper * lengths + error


def _shortlist(
    lower: Floats, upper: Floats, k: int, upper_bound: NDArray[np.float32], lower_bound: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which rows may be among the best `k` between the two bounds, and how many surely lie above the upper one."""
    rows = upper.shape[1]
    if rows > k:
        # At least k rows lie surely below the upper bound and at or above this score.
        sure = np.where(upper < upper_bound[:, None], lower, -np.inf)
        lower_bound = np.maximum(lower_bound, np.partition(sure, rows - k, axis=1)[:, rows - k])
    above = lower > upper_bound[:, None]
    return (upper >= lower_bound[:, None]) & ~above, np.count_nonzero(above, axis=1)
