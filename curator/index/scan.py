"""Scanning lists of one index shard, here or in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator import storage
from curator.index.shards import IndexShard
from curator.selection.pool import Floats
from curator.selection.queues import Cursors, Queues, merge
from curator.selection.search import scan_block

__all__ = ["ListScan", "Scan", "scan_here", "scan_lists"]

BLOCK_ROWS = 16384


@dataclass(frozen=True, slots=True)
class ListScan:
    """Some lists of one shard, and what is wanted of them.

    Attributes:
        shard: URL of the shard.
        wanted: bool (lists,), the lists to read.
        depth: rows per centroid.
        cursors: where each centroid stands.
        floor: float32 (K,), scores below which a row is of no use.
    """

    shard: str
    wanted: NDArray[np.bool_]
    depth: int
    cursors: Cursors
    floor: NDArray[np.float32]


Scan: TypeAlias = Callable[[Iterable[ListScan]], Iterator[Queues]]
"""Scans, taken one by one, to their queues, in any order: `scan_here`, or many workers."""


def scan_here(shards: Sequence[IndexShard], centroids: Floats) -> Scan:
    """A `Scan` in this thread, over shards that are open."""
    opened = {shard.url: shard for shard in shards}

    def scan(tasks: Iterable[ListScan]) -> Iterator[Queues]:
        for task in tasks:
            yield scan_lists(opened[task.shard], task, centroids)

    return scan


def scan_lists(shard: IndexShard, task: ListScan, centroids: Floats) -> Queues:
    """The best rows of the wanted lists after each centroid's cursor, by exact score.

    Each list is scored against all centroids: its rows are in the cache already. Memory: a block and the queues.
    """
    best = Queues.empty(len(centroids), task.depth)
    waiting: list[Queues] = []
    for ids, rows in _blocks(shard, task.wanted):
        # Rows in order of id stand for their ids: equal scores are told apart the same way.
        here = Cursors(task.cursors.scores, np.searchsorted(ids, task.cursors.ids, side="right") - 1)
        found = scan_block(0, rows, centroids, task.depth, here, np.maximum(best.floor, task.floor))
        used = np.arange(found.ids.shape[1]) < found.counts[:, None]
        found.ids[used] = ids[found.ids[used]]
        waiting.append(found)
        if sum(queues.scores.shape[1] for queues in waiting) >= task.depth // 2:
            best, waiting = merge(best, *waiting), []
    return merge(best, *waiting)


def _blocks(shard: IndexShard, wanted: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Ids, ascending, and rows of the wanted lists, some thousand at a time."""
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
    if storage.is_local(shard.url):
        ids, rows = (np.concatenate([array[piece] for piece in pieces]) for array in (shard.ids, shard.rows))
    else:
        # Each piece is a request of its own: they go side by side.
        with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
            ids, rows = (
                np.concatenate(list(threads.map(array.__getitem__, pieces))) for array in (shard.ids, shard.rows)
            )
    order = np.argsort(ids)
    return ids[order], rows[order]
