"""SimCore over a pool: centroids in, coreset out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curator.search import BLOCK_ROWS, Cursors, Floats, PassProgress, Pool, TopK, best_rows, check_centroids
from curator.selection.frontier import Fetch
from curator.selection.result import Selection
from curator.selection.rounds import run_rounds
from curator.selection.rules import Rules
from curator.types import Progress, parts_of, rows_of

__all__ = ["objective", "select_simcore", "with_centroids"]


def select_simcore(
    pool: Pool,
    centroids: Floats,
    rules: Rules,
    *,
    block_rows: int = BLOCK_ROWS,
    progress: Progress | None = None,
    fetch: Fetch | None = None,
) -> Selection:
    """The coreset of a pool, exactly, without the N x K matrix of scores.

    Args:
        pool: its parts.
        centroids: float32 (K, d), unit rows, from `find_centroids`.
        rules: the limits; with neither a budget nor a stop rule the whole pool is put in order.
        block_rows: rows scored at once; changes time and memory, never the result.
        progress: told of the rows read and chosen.
        fetch: reads the pool, for instance by many workers; None for `best_rows` in this thread.

    Returns:
        the selection. One pass over the pool (see `best_rows`) where the top-k of the centroids last, more where they
        run out; then K log K per round. Memory within some GiB, whatever N.

    Raises:
        InputError: pool and centroids do not fit each other.
    """
    check_centroids(centroids)
    passes = PassProgress.of(progress)

    def read_here(lines: NDArray[np.int64], cursors: Cursors, k: int) -> TopK:
        passes.begin()
        return best_rows(pool, centroids[lines], k, cursors, block_rows=block_rows, progress=passes)

    return with_centroids(pool, centroids, run_rounds(fetch or read_here, len(centroids), rules, progress))


def with_centroids(pool: Pool, centroids: Floats, selection: Selection) -> Selection:
    """The selection with its centroids and its objective, which takes a pass over the pool if round 1 was cut short."""
    if np.isnan(selection.objective):
        selection = replace(selection, objective=objective(pool, centroids, selection.ids))
    return replace(selection, anchor_rows=centroids)


def objective(pool: Pool, centroids: Floats, ids: NDArray[np.int64]) -> float:
    """Mean over the centroids of the best score among given rows: what SimCore's coreset maximises (eq. 2).

    Args:
        pool: its parts.
        centroids: float32 (K, d).
        ids: int64 (rows,), of any selection.

    Returns:
        the mean in float64, added in centroid order; NaN for no rows. One pass over the pool that touches
        only the given rows.
    """
    if len(ids) == 0:
        return float("nan")
    best = best_rows(_Subset(pool, np.sort(ids)), centroids, k=1)
    return float(np.cumsum(best.scores[:, 0], dtype=np.float64)[-1]) / len(centroids)


@dataclass(frozen=True, slots=True)
class _Subset:
    """Some rows of a pool; their ids are not kept."""

    pool: Pool
    ids: NDArray[np.int64]

    def parts(self) -> Iterator[tuple[int, Floats]]:
        """Parts with the chosen rows only."""
        part_of = parts_of(self.ids)
        for part, rows in self.pool.parts():
            start, end = np.searchsorted(part_of, [part, part + 1])
            yield part, rows[rows_of(self.ids[start:end])]
