"""Opened index shards, and the lists that run through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from curator.index.quantiser import Quantiser
from curator.index.shards import IndexShard
from curator.selection.pool import Floats
from curator.selection.queues import Cursors, Queues, merge
from curator.selection.search import scan_block

__all__ = ["Lists"]

BLOCK_ROWS = 16384
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
    """

    def __init__(self, quantiser: Quantiser, shards: Sequence[IndexShard]) -> None:
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
        centroids: NDArray[np.float32],
        depth: int,
        cursors: Cursors,
        best: Queues | None = None,
    ) -> Queues:
        """The best `depth` rows of some lists after each centroid's cursor, by exact score.

        Args:
            wanted: bool (lists,), the lists to read. Each is scored against all centroids: its rows are in
                the cache already.
            centroids: float32 (K, d).
            depth: rows per centroid.
            cursors: where each centroid stands.
            best: queues of other lists, to which these are added.
        """
        best = best or Queues.empty(len(centroids), depth)
        waiting: list[Queues] = []
        for ids, rows in self._blocks(wanted):
            # Rows in order of id stand for their ids: equal scores are told apart the same way.
            here = Cursors(cursors.scores, np.searchsorted(ids, cursors.ids, side="right") - 1)
            found = scan_block(0, rows, centroids, depth, here, best.floor)
            used = np.arange(found.ids.shape[1]) < found.counts[:, None]
            found.ids[used] = ids[found.ids[used]]
            waiting.append(found)
            if sum(queues.scores.shape[1] for queues in waiting) >= depth // 2:
                best, waiting = merge(best, *waiting), []
        return merge(best, *waiting)

    def _blocks(self, wanted: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Ids, ascending, and rows of the wanted lists, some thousand at a time."""
        for shard in self._shards:
            pieces: list[slice] = []
            held = 0
            for first, last in _runs(wanted & (np.diff(shard.offsets) > 0)):
                start, end = int(shard.offsets[first]), int(shard.offsets[last])
                for at in range(start, end, BLOCK_ROWS):
                    piece = slice(at, min(at + BLOCK_ROWS, end))
                    if held and held + piece.stop - piece.start > BLOCK_ROWS:
                        yield _gather(shard, pieces)
                        pieces, held = [], 0
                    pieces.append(piece)
                    held += piece.stop - piece.start
            if held:
                yield _gather(shard, pieces)


def _runs(wanted: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Runs [first, last) of True."""
    edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _gather(shard: IndexShard, pieces: list[slice]) -> tuple[NDArray[np.int64], Floats]:
    ids = np.concatenate([shard.ids[piece] for piece in pieces])
    rows = np.concatenate([shard.rows[piece] for piece in pieces])
    order = np.argsort(ids)
    return ids[order], rows[order]
