"""The lists of an index, which run through all of its pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from curator.index.contents import Contents
from curator.index.scan import ListTask, ScanLists
from curator.search import Cursors, TopK, merge

__all__ = ["Lists"]

# Bounds are computed in float32 and must err on the safe side.
ROUNDING = 1e-5


class Lists:
    """The lists of an index, over all its pieces.

    Args:
        contents: what is known of them.
        scan_lists: reads the rows of the pieces.

    Attributes:
        sizes: int64 (lists,), the number of rows in each.
        rows: the number of all rows.
    """

    def __init__(self, contents: Contents, scan_lists: ScanLists) -> None:
        self._scan_lists = scan_lists
        self._centres = contents.quantiser.centroids
        self._contents = contents
        self.sizes = contents.sizes
        self.rows = contents.rows

    def upper_bounds(self, centroids: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores that no row of a list exceeds, float32 (K, lists): cos(max(0, angle to its centre - its radius))."""
        lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
        angle = np.arccos(np.clip(centroids @ self._centres.T / lengths, -1, 1))
        radius = np.arccos(np.clip(self._contents.nearest - ROUNDING, -1, 1))
        bound: NDArray[np.float32] = lengths * np.cos(np.clip(angle - radius - ROUNDING, 0, np.pi)) + ROUNDING
        bound[:, self.sizes == 0] = -np.inf
        return bound

    def nearness(self, centroids: NDArray[np.float32], lower_bounds: NDArray[np.float32]) -> NDArray[np.float32]:
        """How near each list comes to the lower bound of a centroid, float32 (lists,); the nearest centroid counts.

        This is the distance of the lower bound from the mean score of the list's rows, in units of their spread: unit
        rows whose mean has length m lie sqrt(1 - m^2) around it. The mean is taken to lie in the centre's direction,
        which k-means has made of the mean of its training rows.
        """
        mean = self._contents.cosines
        spread = np.sqrt(np.maximum(1 - mean * mean, 1e-4))
        distance = (centroids @ self._centres.T * mean - lower_bounds[:, None]) / spread
        return np.asarray(distance.max(axis=0), np.float32)

    def scan(
        self,
        lists: NDArray[np.bool_],
        k: int,
        cursors: Cursors,
        best: TopK | None = None,
        scan_lists: ScanLists | None = None,
    ) -> TopK:
        """The best `k` rows of these lists after each centroid's cursor, by exact score.

        Args:
            lists: bool (lists,), True for the lists to read.
            k: the number of rows for each centroid.
            cursors: where each centroid stands.
            best: the top-k of other lists, which the rows of these lists are merged with.
            scan_lists: reads the rows for other vectors than the index was opened for.
        """
        top_k = best or TopK.empty(len(cursors.ids), k)

        def tasks() -> Iterator[ListTask]:
            for url in self._contents.with_rows_of(lists):
                # Rows below what is known by now need not be returned from the next piece.
                yield ListTask(url, lists, k, cursors, top_k.lower_bound)

        for more in (scan_lists or self._scan_lists)(tasks()):
            top_k = merge(top_k, more)
        return top_k
