"""The index stages: stored parts become a piece, pieces are put together by list, and lists of a piece are scanned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from curator.index import (
    IndexStore,
    ListTask,
    MergeTask,
    PieceTask,
    build_piece,
    merge_lists,
    piece_opener,
    scan_lists,
)
from curator.search import TopK
from curator.store import NamedParts, RowReader
from curator_pipelines.executors import Task, WorkerContext

__all__ = ["IndexStage", "ListStage", "MergeStage"]


@dataclass(frozen=True)
class IndexStage:
    """Builds pieces of the index at `index_url` from the parts of a pool."""

    index_url: str
    pool: NamedParts
    sample_rate: float

    def open(self, context: WorkerContext) -> Callable[[Task[PieceTask]], int]:
        """Load the quantiser once; the function builds a piece and returns its number of rows."""
        index = IndexStore(self.index_url)
        quantiser, codec = index.quantiser(), index.codec()
        threadpool_limits(context.cpus)

        def build(task: Task[PieceTask]) -> int:
            piece = task.payload
            parts = [(part, self.pool.vectors(part)) for part in sorted(piece.parts)]
            rows = build_piece(index.piece_url(piece.number), parts, quantiser, self.sample_rate, codec)
            index.mark(piece, rows)
            context.report({"rows": rows})
            return rows

        return build


@dataclass(frozen=True)
class MergeStage:
    """Writes pieces of a merge of the index at `index_url`."""

    index_url: str

    def open(self, context: WorkerContext) -> Callable[[Task[MergeTask]], int]:
        """Load the codec once; the function writes a piece and returns its number of rows."""
        index = IndexStore(self.index_url)
        lists, codec = len(index.quantiser().centroids), index.codec()

        def merge(task: Task[MergeTask]) -> int:
            url = index.merged_url(task.payload.merge, task.payload.number)
            rows = merge_lists(url, task.payload, lists, codec)
            context.report({"rows": rows})
            return rows

        return merge


@dataclass(frozen=True)
class ListStage:
    """Scans lists of pieces of the index, for all centroids at once.

    Args:
        index_url: the index.
        pool: the parts it is of: codes are refined by its rows.
        centroids: float32 (K, d).
    """

    index_url: str
    pool: NamedParts
    centroids: NDArray[np.float32]

    def open(self, context: WorkerContext) -> Callable[[Task[ListTask]], TopK]:
        """Load the codec. A piece is opened when its first task comes, and stays open for a while."""
        opened, read_rows = piece_opener(IndexStore(self.index_url).codec()), RowReader(self.pool)
        threadpool_limits(context.cpus)

        def scan(task: Task[ListTask]) -> TopK:
            return scan_lists(opened(task.payload.piece), task.payload, self.centroids, read_rows.vectors)

        return scan
