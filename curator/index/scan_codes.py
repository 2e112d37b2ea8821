"""The exact best rows of a block of codes: bounds first, then the stored rows of what they leave open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curator.search.exact_scores import exact_pairs, margin, propose, row_norms
from curator.search.pool import Floats, check_finite
from curator.search.scan import ranked
from curator.search.top_k import Cursors, Queues
from curator.selection.near_duplicate_filters import Gather

__all__ = ["scan_codes"]


def scan_codes(
    ids: NDArray[np.int64],
    points: Floats,
    angles: Floats,
    gather: Gather,
    centroids: Floats,
    depth: int,
    cursors: Cursors,
    floor: NDArray[np.float32],
) -> Queues:
    """The best rows of one block: those of `scan_block` over the rows themselves.

    Args:
        ids: int64 (n,), ascending.
        points: float32 (n, d), unit rows that stand for the stored ones.
        angles: float32 (n,), the largest angle between each and its stored row; see `Codec.decode`.
        gather: reads stored rows by id; asked for each row once, in order.
        centroids: float32 (K, d).
        depth: most rows per centroid.
        cursors: where each centroid stands.
        floor: float32 (K,), scores below which rows are not wanted; -inf for no floor.
    """
    lower, upper = _bounds(propose(points, row_norms(points), centroids), angles, centroids)
    wanted, passed = _shortlist(lower, upper, depth, cursors.scores, floor)
    centroid_of, place = np.divmod(np.flatnonzero(wanted), max(1, len(ids)))
    used, row_of = np.unique(place, return_inverse=True)
    rows = np.asarray(gather(ids[used]), np.float32) if len(used) else points[:0]
    norms = row_norms(rows)
    for row in np.flatnonzero(~np.isfinite(norms)):
        check_finite(int(ids[used[row]]), norms[row : row + 1])
    scores = exact_pairs(rows, norms, centroids, row_of, centroid_of)
    return ranked(centroid_of, scores, ids[place], passed, len(ids), depth, cursors, floor)


def _bounds(proposed: Floats, angles: Floats, centroids: Floats) -> tuple[Floats, Floats]:
    """Between what the exact scores lie; float32 (K, n) each.

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
    lower: Floats, upper: Floats, depth: int, ceiling: NDArray[np.float32], floor: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which rows may belong to the best `depth` between a floor and a ceiling, and how many surely lie above it."""
    rows = upper.shape[1]
    if rows > depth:
        # So many rows surely lie below the ceiling and at or above this.
        sure = np.where(upper < ceiling[:, None], lower, -np.inf)
        floor = np.maximum(floor, np.partition(sure, rows - depth, axis=1)[:, rows - depth])
    above = lower > ceiling[:, None]
    return (upper >= floor[:, None]) & ~above, np.count_nonzero(above, axis=1)
