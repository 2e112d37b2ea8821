"""What a scan of the pool asks of each part: a way to score rows, one line of best rows for each target or centroid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from curator.search.passes import PassProgress
from curator.search.pool import Floats, Pool
from curator.search.scan import check_centroids, reached_by, scan_part
from curator.search.top_k import Cursors, TopK, TopKMerger

__all__ = ["CentroidScan", "RowScan", "scan_pool"]


class RowScan(Protocol):
    """A way to score rows. It is sent to workers, so it holds arrays and no connections.

    A pool row may stand in one line or in several. Whatever is scanned where, and in which order, the merged top-k is
    the same.
    """

    @property
    def lines(self) -> int:
        """How many lines the top-k has."""
        ...

    def take(self, lines: NDArray[np.int64]) -> RowScan:
        """The same for some of the lines."""
        ...

    def scan(
        self,
        part: int,
        rows: Floats,
        k: int,
        cursors: Cursors,
        lower_bound: NDArray[np.float32],
        total: int | None = None,
    ) -> TopK:
        """The best rows of one part.

        Args:
            part: its number.
            rows: float16 or float32 (n, d).
            k: most rows of a line.
            cursors: where each line stands.
            lower_bound: float32 (lines,), scores below which rows are left out; -inf for no bound.
            total: how many rows of all lines together are enough; None for no limit. See `TopKMerger`.
        """
        ...

    def reached_by(self, count: int, rows: Floats, cursors: Cursors) -> NDArray[np.float32] | None:
        """Per line a score that so many of some rows, at least, reach after its cursor; None if that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class CentroidScan:
    """A line for each centroid: the rows with the best scores, as `best_rows` has them.

    Attributes:
        centroids: float32 (K, d).
    """

    centroids: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_centroids(self.centroids)

    @property
    def lines(self) -> int:
        """K."""
        return len(self.centroids)

    def take(self, lines: NDArray[np.int64]) -> CentroidScan:
        """The same for some of the centroids."""
        return CentroidScan(self.centroids[lines])

    def scan(
        self,
        part: int,
        rows: Floats,
        k: int,
        cursors: Cursors,
        lower_bound: NDArray[np.float32],
        total: int | None = None,
    ) -> TopK:
        """The best rows of one part: see `scan_part`. A row stands in many lines, so a total would limit nothing."""
        return scan_part(part, rows, self.centroids, k, cursors, lower_bound)

    def reached_by(self, count: int, rows: Floats, cursors: Cursors) -> NDArray[np.float32]:
        """See `curator.search.scan`."""
        return reached_by(count, rows, self.centroids, cursors)


def scan_pool(
    pool: Pool, row_scan: RowScan, cursors: Cursors, k: int, total: int | None, progress: PassProgress
) -> TopK:
    """One pass over the pool in this process.

    Args:
        pool: its parts.
        row_scan: scores their rows.
        cursors: where each line stands.
        k: most rows of a line.
        total: see `TopKMerger`.
        progress: told of the rows read.
    """
    progress.begin()
    merger = TopKMerger(row_scan.lines, k, total)
    for part, rows in pool.parts():
        merger.add(row_scan.scan(part, rows, k, cursors, merger.lower_bound, total))
        progress({"rows": len(rows)})
    return merger.merged()
