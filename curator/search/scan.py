"""The exact best rows of a pool for every centroid, in one streaming pass.

    part -> blocks -> propose (float32 matrix product) -> cut -> score exactly -> queues -> merge

`scan_part` and `merge` are pure, so parts may be scanned anywhere, in any order, and merged as a tree.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.search.exact_scores import exact_pairs, margin, propose, row_norms, widen
from curator.search.pool import Floats, Pool, Progress, check_finite, check_rows, first_id
from curator.search.top_k import Cursors, Gathered, Queues, from_pairs, merge

__all__ = ["BLOCK_ROWS", "best_rows", "check_centroids", "ranked", "scan_block", "scan_part"]

BLOCK_ROWS = 16384
BLOCK_SCORES = 1 << 21
"""Most proposed scores at a time (8 MiB): with many centroids a block has fewer rows."""


def best_rows(
    pool: Pool,
    centroids: Floats,
    depth: int,
    cursors: Cursors | None = None,
    *,
    block_rows: int = BLOCK_ROWS,
    progress: Progress | None = None,
) -> Queues:
    """The best `depth` rows of the pool strictly after each centroid's cursor.

    Args:
        pool: its parts, in any order.
        centroids: float32 (K, d).
        depth: rows per centroid, at least 1.
        cursors: where each centroid stands; None means before the first row.
        block_rows: rows scored at once; changes memory and time, never the result.
        progress: told of the rows read.

    Returns:
        the queues. Cost 2NKd for the pass, about 0.5 s per million rows of 128 dimensions and 100 centroids;
        memory K x depth x about 40 bytes and some blocks, whatever N.
    """
    check_centroids(centroids)
    cursors = cursors or Cursors.start(len(centroids))
    best = Gathered(len(centroids), depth)
    seen = 0
    for part, rows in pool.parts():
        check_rows(part, rows, centroids.shape[1])
        for first, block in blocks(part, rows, len(centroids), block_rows):
            best.add(scan_block(first, block, centroids, depth, cursors, best.floor))
            seen += len(block)
            if progress:
                progress("scan", seen)
    return best.merged()


def scan_part(
    part: int,
    rows: Floats,
    centroids: Floats,
    depth: int,
    cursors: Cursors,
    floor: NDArray[np.float32] | None = None,
    *,
    block_rows: int = BLOCK_ROWS,
) -> Queues:
    """The best rows of one part.

    Args:
        part: its number.
        rows: float16 or float32 (n, d).
        centroids: float32 (K, d).
        depth: most rows per centroid.
        cursors: where each centroid stands.
        floor: float32 (K,), scores below which rows are not wanted, such as `Queues.floor` of what is already
            known; rows under it are counted as eligible and left out.
        block_rows: rows scored at once.

    Returns:
        queues of this part, to be merged with those of other parts.
    """
    check_rows(part, rows, centroids.shape[1])
    best = Queues.empty(len(centroids), depth)
    for first, block in blocks(part, rows, len(centroids), block_rows):
        least = best.floor if floor is None else np.maximum(floor, best.floor)
        best = merge(best, scan_block(first, block, centroids, depth, cursors, least))
    return best


def scan_block(
    first: int,
    rows: Floats,
    centroids: Floats,
    depth: int,
    cursors: Cursors,
    floor: NDArray[np.float32],
) -> Queues:
    """The best rows of one block.

    Args:
        first: id of the block's first row; the others follow.
        rows: float16 or float32 (n, d).
        centroids: float32 (K, d).
        depth: most rows per centroid.
        cursors: where each centroid stands.
        floor: float32 (K,), scores below which rows are not wanted; -inf for no floor.

    Returns:
        queues of this block.
    """
    rows = widen(rows)
    norms = row_norms(rows)
    check_finite(first, norms)
    wanted, passed = shortlist(propose(rows, norms, centroids), depth, cursors.scores, floor, margin(centroids))
    centroid_of, row_of = np.divmod(np.flatnonzero(wanted), max(1, len(rows)))
    scores = exact_pairs(rows, norms, centroids, row_of, centroid_of)
    return ranked(centroid_of, scores, first + row_of, passed, len(rows), depth, cursors, floor)


def ranked(
    centroid_of: NDArray[np.int64],
    scores: NDArray[np.float32],
    ids: NDArray[np.int64],
    passed: NDArray[np.int64],
    rows: int,
    depth: int,
    cursors: Cursors,
    floor: NDArray[np.float32],
) -> Queues:
    """Queues of the scored pairs that lie after the cursors and not below the floor.

    Args:
        centroid_of: int64 (pairs,), ascending.
        scores: float32 (pairs,), exact.
        ids: int64 (pairs,).
        passed: int64 (K,), rows of the block that were not scored because they lie above the cursor.
        rows: rows of the block.
        depth: most rows per centroid.
        cursors: where each centroid stands.
        floor: float32 (K,).
    """
    limit = cursors.scores[centroid_of]
    after = (scores < limit) | ((scores == limit) & (ids > cursors.ids[centroid_of]))
    passed = passed + np.bincount(centroid_of[~after], minlength=len(passed))
    keep = after & (scores >= floor[centroid_of])
    return from_pairs(centroid_of[keep], scores[keep], ids[keep], rows - passed, rows, depth)


def shortlist(
    proposed: NDArray[np.float32],
    depth: int,
    ceiling: NDArray[np.float32],
    floor: NDArray[np.float32],
    error: float,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which proposed scores may belong to the best `depth` between a floor and a ceiling.

    Args:
        proposed: float32 (K, n), each within `error` of the exact score.
        depth: rows wanted per centroid.
        ceiling: float32 (K,): exact scores above it are not wanted, those equal to it may be.
        floor: float32 (K,): exact scores below it are not wanted.
        error: see `margin`.

    Returns:
        bool (K, n), True for rows that may be wanted; int64 (K,), rows that surely lie above the ceiling.
    """
    lowest = floor - np.float32(error)
    highest = ceiling + np.float32(error)
    bounded = bool(np.isfinite(ceiling).any())
    wanted = proposed >= lowest[:, None]
    crowded = np.flatnonzero(np.count_nonzero(wanted, axis=1) > depth)
    if len(crowded):
        below = proposed[crowded]
        if bounded:
            below[below >= (ceiling - np.float32(error))[crowded, None]] = -np.inf
        # The depth-th best proposed is within one error of an exact score that suffices, and so is every
        # row that might still beat it.
        cut = np.partition(below, below.shape[1] - depth, axis=1)[:, below.shape[1] - depth]
        lowest[crowded] = np.maximum(lowest[crowded], cut - np.float32(2 * error))
        wanted[crowded] = proposed[crowded] >= lowest[crowded, None]
    if not bounded:
        return wanted, np.zeros(len(proposed), np.int64)
    above = proposed > highest[:, None]
    wanted &= ~above
    return wanted, np.count_nonzero(above, axis=1)


def blocks(part: int, rows: Floats, lines: int, block_rows: int) -> Iterator[tuple[int, Floats]]:
    """A part in blocks, each with the id of its first row; `lines` scores will be proposed per row."""
    step = max(1, min(block_rows, BLOCK_SCORES // max(1, lines)))
    for start in range(0, len(rows), step):
        yield first_id(part) + start, rows[start : start + step]


def check_centroids(centroids: Floats) -> None:
    """Refuse centroids that nothing can be scored against.

    Raises:
        InputError: none at all, not float32, or not finite.
    """
    if centroids.ndim != 2 or 0 in centroids.shape or centroids.dtype != np.float32:
        raise InputError(f"centroids must be float32 of shape (at least 1, d), not {centroids.dtype} {centroids.shape}")
    if not np.isfinite(centroids).all():
        raise InputError("centroids hold NaN or infinity: embed the target again")
