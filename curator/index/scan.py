"""Scanning lists of one piece of the index, in this process or in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from curator.index.codec import Codec
from curator.index.pieces import IndexPiece
from curator.index.scan_codes import CodedRows, scan_codes
from curator.io import storage
from curator.search import Cursors, Floats, TopK, merge, scan_block
from curator.selection import ReadRows

__all__ = ["ListTask", "ScanLists", "blocks", "piece_opener", "scan_in_this_thread", "scan_lists"]

BLOCK_ROWS = 16384
# Pieces that a worker keeps open: each has the offsets of all lists.
OPEN_PIECES = 64


@dataclass(frozen=True, slots=True)
class ListTask:
    """The lists to scan in one piece of the index.

    Attributes:
        piece: the URL of the piece.
        lists: bool (lists,), True for the lists to read.
        k: the number of rows for each centroid.
        cursors: where each centroid stands.
        lower_bound: float32 (K,), the scores below which rows are of no use.
    """

    piece: str
    lists: NDArray[np.bool_]
    k: int
    cursors: Cursors
    lower_bound: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"the search of index piece {self.piece.rpartition('/')[2]}"


# Tasks, taken one by one, to the best rows of each, in any order: `scan_in_this_thread`, or many workers.
ScanLists: TypeAlias = Callable[[Iterable[ListTask]], Iterator[TopK]]


def piece_opener(codec: Codec | None) -> Callable[[str], IndexPiece]:
    """Opens pieces by URL, and keeps the last ones open."""
    return lru_cache(OPEN_PIECES)(partial(IndexPiece.open, codec=codec))


def scan_in_this_thread(codec: Codec | None, centroids: Floats, read_rows: ReadRows | None = None) -> ScanLists:
    """A `ScanLists` over the pieces of an index with this codec; `read_rows` as in `scan_lists`."""
    opened = piece_opener(codec)

    def scan(tasks: Iterable[ListTask]) -> Iterator[TopK]:
        for task in tasks:
            yield scan_lists(opened(task.piece), task, centroids, read_rows)

    return scan


def scan_lists(piece: IndexPiece, task: ListTask, centroids: Floats, read_rows: ReadRows | None = None) -> TopK:
    """The best rows of the task's lists after each centroid's cursor, by exact score.

    Each list is scored against all centroids: its rows are in the cache already. Memory: a block and the top-k.

    Args:
        piece: the piece, opened.
        task: the lists to scan.
        centroids: float32 (K, d).
        read_rows: reads the pool's rows by id; needed where the piece holds codes.
    """
    best = TopK.empty(len(centroids), task.k)
    waiting: list[TopK] = []
    for slices in blocks(piece, task.lists):
        ids, stored, positions = _read(piece, slices)
        lower_bound = np.maximum(best.lower_bound, task.lower_bound)
        if piece.codec is None:
            waiting.append(_scan_rows(ids, stored, centroids, task, lower_bound))
        else:
            assert read_rows is not None
            lists = np.searchsorted(piece.offsets, positions, side="right") - 1
            rows = CodedRows(ids, *piece.codec.decode(stored, lists))
            waiting.append(scan_codes(rows, read_rows, centroids, task.k, task.cursors, lower_bound))
        # Merging costs more than keeping, until the columns that wait are about as many as the result's.
        if sum(top_k.scores.shape[1] for top_k in waiting) >= task.k // 2:
            best, waiting = merge(best, *waiting), []
    return merge(best, *waiting)


def _scan_rows(
    ids: NDArray[np.int64], rows: Floats, centroids: Floats, task: ListTask, lower_bound: NDArray[np.float32]
) -> TopK:
    # Rows in order of id stand for their ids, since equal scores are told apart in the same way.
    cursors = Cursors(task.cursors.scores, np.searchsorted(ids, task.cursors.ids, side="right") - 1)
    top_k = scan_block(0, rows, centroids, task.k, cursors, lower_bound)
    used = np.arange(top_k.ids.shape[1]) < top_k.counts[:, None]
    top_k.ids[used] = ids[top_k.ids[used]]
    return top_k


def blocks(piece: IndexPiece, lists: NDArray[np.bool_]) -> Iterator[list[slice]]:
    """The positions of the lists' rows, about `BLOCK_ROWS` rows at a time."""
    slices: list[slice] = []
    rows = 0
    for first, last in _runs(lists & (piece.list_sizes > 0)):
        begin, end = int(piece.offsets[first]), int(piece.offsets[last])
        for start in range(begin, end, BLOCK_ROWS):
            added = slice(start, min(start + BLOCK_ROWS, end))
            if rows and rows + added.stop - added.start > BLOCK_ROWS:
                yield slices
                slices, rows = [], 0
            slices.append(added)
            rows += added.stop - added.start
    if rows:
        yield slices


def _runs(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Runs [first, last) of True."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _read(piece: IndexPiece, slices: list[slice]) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """The ids of these rows, ascending, with what is stored of each, and its position in the piece."""
    if storage.is_local(piece.url):
        ids, stored = (np.concatenate([array[rows] for rows in slices]) for array in (piece.ids, piece.stored))
    else:
        # Each slice is a request of its own, so they are sent side by side.
        with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
            ids, stored = (
                np.concatenate(list(threads.map(array.__getitem__, slices))) for array in (piece.ids, piece.stored)
            )
    positions = np.concatenate([np.arange(rows.start, rows.stop) for rows in slices])
    order = np.argsort(ids)
    return ids[order], stored[order], positions[order]
