"""The lists of an index, which run through all of its pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curator.index.pieces import IndexPiece
from curator.index.quantiser import Quantiser
from curator.index.scan import ListTask, ScanLists
from curator.search import Cursors, TopK, merge

__all__ = ["Lists"]

# Bounds are computed in float32 and must err on the safe side.
ROUNDING = 1e-5


class Lists:
    """The lists of an index, over all its pieces.

    Args:
        quantiser: the quantiser of the index.
        pieces: the pieces of the index.
        scan_lists: reads the rows of the pieces.

    Attributes:
        sizes: int64 (lists,), the number of rows in each.
        rows: the number of all rows.
    """

    def __init__(self, quantiser: Quantiser, pieces: Sequence[IndexPiece], scan_lists: ScanLists) -> None:
        self._scan_lists = scan_lists
        self._centres = quantiser.centroids
        self._pieces = pieces
        self.sizes: NDArray[np.int64] = np.sum([piece.list_sizes for piece in pieces], axis=0)
        self.rows = int(self.sizes.sum())
        self._nearest = np.min([piece.nearest for piece in pieces], axis=0)
        self._means = np.sum([piece.sums for piece in pieces], axis=0) / np.maximum(self.sizes, 1)[:, None]

    def upper_bounds(self, centroids: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores that no row of a list exceeds, float32 (K, lists): cos(max(0, angle to its centre - its radius))."""
        lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
        angle = np.arccos(np.clip(centroids @ self._centres.T / lengths, -1, 1))
        radius = np.arccos(np.clip(self._nearest - ROUNDING, -1, 1))
        bound: NDArray[np.float32] = lengths * np.cos(np.clip(angle - radius - ROUNDING, 0, np.pi)) + ROUNDING
        bound[:, self.sizes == 0] = -np.inf
        return bound

    def nearness(self, centroids: NDArray[np.float32], lower_bounds: NDArray[np.float32]) -> NDArray[np.float32]:
        """How near each list comes to the lower bound of a centroid, float32 (lists,); the nearest centroid counts.

        This is the distance of the lower bound from the mean score of the list's rows, in units of their spread: unit
        rows whose mean has length m lie sqrt(1 - m^2) around it.
        """
        spread = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", self._means, self._means), 1e-4))
        distance: NDArray[np.float32] = ((centroids @ self._means.T - lower_bounds[:, None]) / spread).max(axis=0)
        return distance

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
            for piece in self._pieces:
                if (piece.list_sizes[lists] > 0).any():
                    # Rows below what is known by now need not be returned from the next piece.
                    yield ListTask(piece.url, lists, k, cursors, top_k.lower_bound)

        for more in (scan_lists or self._scan_lists)(tasks()):
            top_k = merge(top_k, more)
        return top_k
