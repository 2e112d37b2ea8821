"""Opened index shards, and the lists that run through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curator.index.quantiser import Quantiser
from curator.index.scan import ListScan, Scan
from curator.index.shards import IndexPiece
from curator.search.top_k import Cursors, TopK, merge

__all__ = ["Lists"]

ROUNDING = 1e-5
"""Bounds are computed in float32 and must err on the safe side."""


class Lists:
    """The lists of an index, over all its shards.

    Attributes:
        sizes: int64 (lists,), rows in each.
        rows: rows in all.

    Args:
        quantiser: where the lists are.
        shards: the index's shards.
        scan: reads their rows.
    """

    def __init__(self, quantiser: Quantiser, shards: Sequence[IndexPiece], scan: Scan) -> None:
        self._scan = scan
        self._centres = quantiser.centroids
        self._shards = shards
        self.sizes: NDArray[np.int64] = np.sum([np.diff(shard.offsets) for shard in shards], axis=0)
        self.rows = int(self.sizes.sum())
        self._nearest = np.min([shard.nearest for shard in shards], axis=0)
        self._means = np.sum([shard.sums for shard in shards], axis=0) / np.maximum(self.sizes, 1)[:, None]

    def bounds(self, centroids: NDArray[np.float32]) -> NDArray[np.float32]:
        """What no row of a list can score above, float32 (K, lists): cos(max(0, angle to its centre - its radius))."""
        lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
        angle = np.arccos(np.clip(centroids @ self._centres.T / lengths, -1, 1))
        radius = np.arccos(np.clip(self._nearest - ROUNDING, -1, 1))
        bound: NDArray[np.float32] = lengths * np.cos(np.clip(angle - radius - ROUNDING, 0, np.pi)) + ROUNDING
        bound[:, self.sizes == 0] = -np.inf
        return bound

    def promise(self, centroids: NDArray[np.float32], cuts: NDArray[np.float32]) -> NDArray[np.float32]:
        """How near a list comes to the cut of some centroid, float32 (lists,), larger is nearer.

        The distance of the cut from the mean score of a list's rows, in units of their spread: unit rows whose
        mean has length m lie sqrt(1 - m^2) around it.
        """
        spread = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", self._means, self._means), 1e-4))
        distance: NDArray[np.float32] = ((centroids @ self._means.T - cuts[:, None]) / spread).max(axis=0)
        return distance

    def scan(
        self,
        wanted: NDArray[np.bool_],
        k: int,
        cursors: Cursors,
        best: TopK | None = None,
    ) -> TopK:
        """The best `k` rows of some lists after each centroid's cursor, by exact score.

        Args:
            wanted: bool (lists,), the lists to read.
            k: rows per centroid.
            cursors: where each centroid stands.
            best: queues of other lists, to which these are added.
        """
        found = best or TopK.empty(len(cursors.ids), k)

        def tasks() -> Iterator[ListScan]:
            for shard in self._shards:
                if (np.diff(shard.offsets)[wanted] > 0).any():
                    # What is found by now spares whoever takes the next shard rows that are of no use.
                    yield ListScan(shard.url, wanted, k, cursors, found.lower_bound)

        for more in self._scan(tasks()):
            found = merge(found, more)
        return found
