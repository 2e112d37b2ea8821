"""The exact best rows of a pool for every centroid, in one streaming pass.

    part -> blocks -> propose (float32 matrix product) -> shortlist -> score exactly -> top-k -> merge

`scan_part` and `merge` are pure, so parts may be scanned anywhere, in any order, and merged as a tree.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from curator.errors import InputError
from curator.float16 import widen
from curator.search.pool import Floats, Pool, check_finite, check_rows, first_id
from curator.search.scoring import exact_pairs, margin, propose, row_norms
from curator.search.top_k import Cursors, TopK, TopKMerger, top_k_of_pairs
from curator.types import Progress

__all__ = ["BLOCK_ROWS", "best_rows", "check_centroids", "ranked", "reached_by", "scan_block", "scan_part"]

BLOCK_ROWS = 16384
# Most proposed scores at a time (16 MiB): with many centroids a block has fewer rows.
BLOCK_SCORES = 1 << 22
# Proposed at a time: with more, blocks would have so few rows that what each costs by centroid counted most.
MOST_CENTROIDS = 1024
# Of so many rows of a sample the best alone is looked at, where that leaves many times the rows that are counted.
MOST_GROUPED = 64
LEAST_GROUPS = 8


def best_rows(
    pool: Pool,
    centroids: Floats,
    k: int,
    cursors: Cursors | None = None,
    *,
    block_rows: int = BLOCK_ROWS,
    progress: Progress | None = None,
) -> TopK:
    """The best `k` rows of the pool strictly after each centroid's cursor.

    Args:
        pool: its parts, in any order.
        centroids: float32 (K, d).
        k: rows per centroid, at least 1.
        cursors: where each centroid stands; None means before the first row.
        block_rows: rows scored at once; changes memory and time, never the result.
        progress: told of the rows read.

    Returns:
        the top-k. Cost 2NKd for the pass, about 0.5 s per million rows of 128 dimensions and 100 centroids;
        memory K x k x about 40 bytes and some blocks, whatever N.
    """
    check_centroids(centroids)
    cursors = cursors or Cursors.start(len(centroids))
    best = TopKMerger(len(centroids), k)
    for part, rows in pool.parts():
        check_rows(part, rows, centroids.shape[1])
        for first, block in blocks(part, rows, min(len(centroids), MOST_CENTROIDS), block_rows):
            best.add(scan_block(first, block, centroids, k, cursors, best.lower_bound))
            if progress:
                progress({"rows": len(block)})
    return best.merged()


def scan_part(
    part: int,
    rows: Floats,
    centroids: Floats,
    k: int,
    cursors: Cursors,
    lower_bound: NDArray[np.float32] | None = None,
    *,
    block_rows: int = BLOCK_ROWS,
) -> TopK:
    """The best rows of one part.

    Args:
        part: its number.
        rows: float16 or float32 (n, d).
        centroids: float32 (K, d).
        k: most rows per centroid.
        cursors: where each centroid stands.
        lower_bound: float32 (K,), scores below which rows are left out, such as `TopK.lower_bound` of what is already
            known; such rows are still counted as eligible.
        block_rows: rows scored at once.

    Returns:
        the top-k of this part, to be merged with those of other parts.
    """
    check_rows(part, rows, centroids.shape[1])
    best = TopKMerger(len(centroids), k)
    for first, block in blocks(part, rows, min(len(centroids), MOST_CENTROIDS), block_rows):
        least = best.lower_bound if lower_bound is None else np.maximum(lower_bound, best.lower_bound)
        best.add(scan_block(first, block, centroids, k, cursors, least))
    return best.merged()


def reached_by(count: int, rows: Floats, centroids: Floats, cursors: Cursors) -> NDArray[np.float32]:
    """Per centroid a score that at least so many rows after its cursor reach, near to the best such score.

    The best proposed scores of groups of rows stand for the rows, so little is sorted.

    Args:
        count: how many rows, at least 1.
        rows: float16 or float32 (n, d).
        centroids: float32 (K, d).
        cursors: where each centroid stands.

    Returns:
        float32 (K,); -inf where fewer rows do. Cost 2nKd.
    """
    rows = widen(rows)
    norms = row_norms(rows)
    error = np.float32(margin(centroids))
    groups = len(rows) // min(MOST_GROUPED, max(1, len(rows) // (LEAST_GROUPS * count)))
    scores = np.full(len(centroids), -np.inf, np.float32)
    if count > groups:
        return scores
    step = max(1, BLOCK_SCORES // len(rows))
    for start in range(0, len(centroids), step):
        lines = slice(start, start + step)
        proposed = propose(rows, norms, centroids[lines])
        proposed[proposed >= cursors.scores[lines, None] - error] = -np.inf
        best = np.full((len(proposed), groups), -np.inf, np.float32)
        for first in range(0, len(rows), groups):
            some = proposed[:, first : first + groups]
            np.maximum(best[:, : some.shape[1]], some, out=best[:, : some.shape[1]])
        scores[lines] = np.partition(best, groups - count, axis=1)[:, groups - count] - error
    return scores


def scan_block(
    first: int,
    rows: Floats,
    centroids: Floats,
    k: int,
    cursors: Cursors,
    lower_bound: NDArray[np.float32],
) -> TopK:
    """The best rows of one block.

    Args:
        first: id of the block's first row; the others follow.
        rows: float16 or float32 (n, d).
        centroids: float32 (K, d).
        k: most rows per centroid.
        cursors: where each centroid stands.
        lower_bound: float32 (K,), scores below which rows are left out; -inf for no bound.

    Returns:
        the top-k of this block.
    """
    rows = widen(rows)
    norms = row_norms(rows)
    check_finite(first, norms)
    groups = [slice(start, start + MOST_CENTROIDS) for start in range(0, max(1, len(centroids)), MOST_CENTROIDS)]
    return TopK.stack(
        [
            _scan_lines(first, rows, norms, centroids[lines], k, cursors.take(lines), lower_bound[lines])
            for lines in groups
        ]
    )


def _scan_lines(
    first: int,
    rows: NDArray[np.float32],
    norms: NDArray[np.float64],
    centroids: Floats,
    k: int,
    cursors: Cursors,
    lower_bound: NDArray[np.float32],
) -> TopK:
    """`scan_block` for so many centroids as are proposed at a time."""
    proposed = propose(rows, norms, centroids)
    listed, above = shortlist(proposed, k, cursors.scores, lower_bound, margin(centroids))
    centroid_of, row_of = np.divmod(listed, max(1, len(rows)))
    scores = exact_pairs(rows, norms, centroids, row_of, centroid_of)
    return ranked(centroid_of, scores, first + row_of, above, len(rows), k, cursors, lower_bound)


def ranked(
    centroid_of: NDArray[np.int64],
    scores: NDArray[np.float32],
    ids: NDArray[np.int64],
    above: NDArray[np.int64],
    rows: int,
    k: int,
    cursors: Cursors,
    lower_bound: NDArray[np.float32],
) -> TopK:
    """The top-k of the scored pairs that lie after the cursors and not below the lower bound.

    Args:
        centroid_of: int64 (pairs,), ascending.
        scores: float32 (pairs,), exact.
        ids: int64 (pairs,).
        above: int64 (K,), rows of the block that were not scored because they lie above the cursor.
        rows: rows of the block.
        k: most rows per centroid.
        cursors: where each centroid stands.
        lower_bound: float32 (K,).
    """
    limit = cursors.scores[centroid_of]
    after = (scores < limit) | ((scores == limit) & (ids > cursors.ids[centroid_of]))
    before = above + np.bincount(centroid_of[~after], minlength=len(above))
    keep = after & (scores >= lower_bound[centroid_of])
    return top_k_of_pairs(centroid_of[keep], scores[keep], ids[keep], rows - before, rows, k)


def shortlist(
    proposed: NDArray[np.float32],
    k: int,
    upper_bound: NDArray[np.float32],
    lower_bound: NDArray[np.float32],
    error: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which proposed scores may belong to the best `k` between a lower bound and an upper bound.

    Args:
        proposed: float32 (K, n), each within `error` of the exact score.
        k: rows per centroid.
        upper_bound: float32 (K,): rows with exact scores above it are left out, those equal to it may be kept.
        lower_bound: float32 (K,): rows with exact scores below it are left out.
        error: see `margin`.

    Returns:
        int64, ascending, the places among the K x n scores of those to compute exactly; int64 (K,), the rows that
        surely lie above the upper bound.
    """
    lowest = lower_bound - np.float32(error)
    highest = upper_bound + np.float32(error)
    bounded = bool(np.isfinite(upper_bound).any())
    listed = proposed >= lowest[:, None]
    places = np.flatnonzero(listed)
    crowded = np.flatnonzero(np.bincount(places // max(1, listed.shape[1]), minlength=len(listed)) > k)
    if len(crowded):
        below = proposed[crowded]
        if bounded:
            below[below >= (upper_bound - np.float32(error))[crowded, None]] = -np.inf
        # The k-th best proposed is within one error of an exact score that suffices, and so is every
        # row that might still beat it.
        kth = np.partition(below, below.shape[1] - k, axis=1)[:, below.shape[1] - k]
        lowest[crowded] = np.maximum(lowest[crowded], kth - np.float32(2 * error))
        listed[crowded] = proposed[crowded] >= lowest[crowded, None]
        places = np.flatnonzero(listed)
    if not bounded:
        return places, np.zeros(len(proposed), np.int64)
    above = proposed > highest[:, None]
    return places[~above.reshape(-1)[places]], np.count_nonzero(above, axis=1)


def blocks(part: int, rows: Floats, centroids: int, block_rows: int) -> Iterator[tuple[int, Floats]]:
    """A part in blocks, each with the id of its first row; so many centroids are proposed for each row at a time."""
    step = max(1, min(block_rows, BLOCK_SCORES // max(1, centroids)))
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
        raise InputError("centroids hold NaN or infinity", advice="embed the target again")
