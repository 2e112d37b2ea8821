"""SimCore over a pool: centroids in, coreset out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curator.search.pool import Floats, Pool
from curator.search.scan import BLOCK_ROWS, best_rows, check_centroids
from curator.search.top_k import Cursors, TopK
from curator.selection.filters import Filter
from curator.selection.frontier import Fetch
from curator.selection.result import Selection
from curator.selection.rounds import run_rounds
from curator.types import Progress

__all__ = ["objective", "select_simcore", "with_objective"]


def select_simcore(
    pool: Pool,
    centroids: Floats,
    *,
    budget: int | None,
    stop: float | None,
    reference_round: int = 1,
    row_filter: Filter | None = None,
    k: int | None = None,
    block_rows: int = BLOCK_ROWS,
    progress: Progress | None = None,
    fetch: Fetch | None = None,
) -> Selection:
    """The coreset of a pool, exactly, without the N x K matrix of scores.

    Args:
        pool: its parts.
        centroids: float32 (K, d), unit rows, from `find_centroids`.
        budget: rows to choose, at least 1; None for no limit.
        stop: end before a round whose mean score is below this share of the reference mean, above 0 and at
            most 1; None for no rule. With neither limit the whole pool is put in order.
        reference_round: the round whose mean is the reference: 1 as in the paper, 20 in its authors' code.
        row_filter: asked about each row at the moment it would be chosen; None skips nothing.
        k: rows per centroid that the first pass keeps; changes time and memory, never the result.
        block_rows: rows scored at once; changes time and memory, never the result.
        progress: told of the rows read and chosen.
        fetch: reads the pool, such as `DistributedScan` by many workers; None for `best_rows` in this thread.

    Returns:
        the selection. One pass over the pool (see `best_rows`) where the queues last, more where they run
        dry; then K log K per round. Memory within some GiB, whatever N.

    Raises:
        InputError: an argument is out of its range, or pool and centroids do not fit each other.
    """
    check_centroids(centroids)

    def read_here(cursors: Cursors, k: int) -> TopK:
        return best_rows(pool, centroids, k, cursors, block_rows=block_rows, progress=progress)

    selection = run_rounds(
        fetch or read_here,
        len(centroids),
        budget=budget,
        stop=stop,
        reference_round=reference_round,
        row_filter=row_filter,
        k=k,
        progress=progress,
    )
    return with_objective(pool, centroids, selection)


def with_objective(pool: Pool, centroids: Floats, selection: Selection) -> Selection:
    """The selection with its objective: of rounds whose first was cut short, it takes a pass over the pool."""
    if np.isnan(selection.objective):
        return replace(selection, objective=objective(pool, centroids, selection.ids))
    return selection


def objective(pool: Pool, centroids: Floats, ids: NDArray[np.int64]) -> float:
    """Mean over the centroids of the best score among some rows: what SimCore's coreset maximises (eq. 2).

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
        owner = self.ids >> 32
        for part, rows in self.pool.parts():
            start, end = np.searchsorted(owner, [part, part + 1])
            yield part, rows[self.ids[start:end] & 0xFFFFFFFF]
