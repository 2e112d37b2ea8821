"""What a selection left of one target, read from OUT: the numbers and rows that every section of its report needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.errors import InputError
from curator.io import npy, parquet, schemas, storage
from curator.search import first_in_hash_order, priorities
from curator.store import RowReader
from curator_pipelines.run import StoredSelection, TargetDirectory, load_selection

__all__ = ["SAMPLED_ROWS", "TargetRecord", "in_hash_order", "read_target"]

# Rows of the pool that stand for it: the points of the map, and where shares are estimated.
SAMPLED_ROWS = 2000


@dataclass(frozen=True)
class TargetRecord:
    """One target's finished selection, as OUT has it.

    Attributes:
        directory: where it is.
        selection: the chosen rows, and selection.json.
        rounds: rounds.parquet.
        next_rows: next.parquet.
        held_out: held_out.parquet.
        nearest: nearest.parquet.
        skipped: skipped.parquet.
        centroids: float32 (K, d), centroids.npy; (0, 0) from a selector without.
    """

    directory: TargetDirectory
    selection: StoredSelection
    rounds: pa.Table
    next_rows: pa.Table
    held_out: pa.Table
    nearest: pa.Table
    skipped: pa.Table
    centroids: NDArray[np.float32]

    @property
    def record(self) -> dict[str, Any]:
        """The content of selection.json."""
        return self.selection.record

    @cached_property
    def pool_sample(self) -> NDArray[np.int64]:
        """Ids of a seeded sample of the pool, int64 (at most 2,000,), ascending."""
        return first_in_hash_order(self.directory.pool.lengths(), SAMPLED_ROWS)

    @cached_property
    def target_ids(self) -> NDArray[np.int64]:
        """Ids of the target's rows, int64, by part and row."""
        return self.directory.target.ids()

    @cached_property
    def pool_rows(self) -> RowReader:
        """Reads single rows of the pool."""
        return RowReader(self.directory.pool)


def read_target(directory: TargetDirectory) -> TargetRecord:
    """Read what a selection left; a file that an older version did not write yet is an empty table.

    Raises:
        InputError: there is no finished selection.
    """
    selection = load_selection(directory)
    if selection is None:
        raise InputError(f"{directory.url} holds no finished selection", advice="finish the selection first")

    def table(name: str, schema: pa.Schema) -> pa.Table:
        try:
            return parquet.read_table(directory.path("selection", name), schema)
        except FileNotFoundError:
            return schema.empty_table()

    centroids = directory.path("selection", "centroids.npy")
    return TargetRecord(
        directory,
        selection,
        table("rounds.parquet", schemas.ROUNDS),
        table("next.parquet", schemas.NEXT),
        table("held_out.parquet", schemas.HELD_OUT),
        table("nearest.parquet", schemas.NEAREST),
        table("skipped.parquet", schemas.SKIPPED),
        npy.read_array(centroids) if storage.exists(centroids) else np.empty((0, 0), np.float32),
    )


def in_hash_order(ids: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """The first `count` of these ids in the fixed random order of a seed."""
    return ids[np.lexsort((ids, priorities(ids, seed)))[:count]]
