"""Scanning lists of one index shard, here or in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.index.scan_codes import scan_codes
from curator.index.shards import IndexPiece
from curator.io import storage
from curator.search.pool import Floats
from curator.search.scan import scan_block
from curator.search.top_k import Cursors, TopK, merge
from curator.selection.near_duplicate_filters import ReadRows

__all__ = ["ListScan", "Scan", "scan_here", "scan_lists"]

BLOCK_ROWS = 16384


@dataclass(frozen=True, slots=True)
class ListScan:
    """Some lists of one shard, and what is wanted of them.

    Attributes:
        shard: URL of the shard.
        wanted: bool (lists,), the lists to read.
        k: rows per centroid.
        cursors: where each centroid stands.
        lower_bound: float32 (K,), scores below which a row is of no use.
    """

    shard: str
    wanted: NDArray[np.bool_]
    k: int
    cursors: Cursors
    lower_bound: NDArray[np.float32]


Scan: TypeAlias = Callable[[Iterable[ListScan]], Iterator[TopK]]
"""Scans, taken one by one, to their queues, in any order: `scan_here`, or many workers."""


def scan_here(shards: Sequence[IndexPiece], centroids: Floats, read_rows: ReadRows | None = None) -> Scan:
    """A `Scan` in this thread, over shards that are open; `read_rows` as in `scan_lists`."""
    opened = {shard.url: shard for shard in shards}

    def scan(tasks: Iterable[ListScan]) -> Iterator[TopK]:
        for task in tasks:
            yield scan_lists(opened[task.shard], task, centroids, read_rows)

    return scan


def scan_lists(shard: IndexPiece, task: ListScan, centroids: Floats, read_rows: ReadRows | None = None) -> TopK:
    """The best rows of the wanted lists after each centroid's cursor, by exact score.

    Each list is scored against all centroids: its rows are in the cache already. Memory: a block and the queues.

    Args:
        shard: the shard.
        task: what is wanted of it.
        centroids: float32 (K, d).
        read_rows: reads the pool's rows by id; needed where the shard holds codes.
    """
    best = TopK.empty(len(centroids), task.k)
    waiting: list[TopK] = []
    for pieces in _blocks(shard, task.wanted):
        ids, stored, positions = _read(shard, pieces)
        lower_bound = np.maximum(best.lower_bound, task.lower_bound)
        if shard.codec is None:
            found = _scan_rows(ids, stored, centroids, task, lower_bound)
        else:
            assert read_rows is not None
            lists = np.searchsorted(shard.offsets, positions, side="right") - 1
            points, angles = shard.codec.decode(stored, lists)
            found = scan_codes(ids, points, angles, read_rows, centroids, task.k, task.cursors, lower_bound)
        waiting.append(found)
        if sum(queues.scores.shape[1] for queues in waiting) >= task.k // 2:
            best, waiting = merge(best, *waiting), []
    return merge(best, *waiting)


def _scan_rows(
    ids: NDArray[np.int64], rows: Floats, centroids: Floats, task: ListScan, lower_bound: NDArray[np.float32]
) -> TopK:
    # Rows in order of id stand for their ids: equal scores are told apart the same way.
    here = Cursors(task.cursors.scores, np.searchsorted(ids, task.cursors.ids, side="right") - 1)
    found = scan_block(0, rows, centroids, task.k, here, lower_bound)
    used = np.arange(found.ids.shape[1]) < found.counts[:, None]
    found.ids[used] = ids[found.ids[used]]
    return found


def _blocks(shard: IndexPiece, wanted: NDArray[np.bool_]) -> Iterator[list[slice]]:
    """Where the rows of the wanted lists are, some thousand at a time."""
    pieces: list[slice] = []
    held = 0
    for first, last in _runs(wanted & (np.diff(shard.offsets) > 0)):
        start, end = int(shard.offsets[first]), int(shard.offsets[last])
        for at in range(start, end, BLOCK_ROWS):
            piece = slice(at, min(at + BLOCK_ROWS, end))
            if held and held + piece.stop - piece.start > BLOCK_ROWS:
                yield pieces
                pieces, held = [], 0
            pieces.append(piece)
            held += piece.stop - piece.start
    if held:
        yield pieces


def _runs(wanted: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Runs [first, last) of True."""
    edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _read(shard: IndexPiece, pieces: list[slice]) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """Ids, ascending, with what is stored of these rows, and where in the shard."""
    if storage.is_local(shard.url):
        ids, stored = (np.concatenate([array[piece] for piece in pieces]) for array in (shard.ids, shard.stored))
    else:
        # Each piece is a request of its own: they go side by side.
        with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
            ids, stored = (
                np.concatenate(list(threads.map(array.__getitem__, pieces))) for array in (shard.ids, shard.stored)
            )
    positions = np.concatenate([np.arange(piece.start, piece.stop) for piece in pieces])
    order = np.argsort(ids)
    return ids[order], stored[order], positions[order]
