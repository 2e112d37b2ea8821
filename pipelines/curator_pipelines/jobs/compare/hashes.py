"""The sha256 of chosen images: from the manifest, which has them in one file, else from the pool's metadata."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curator.io import parquet, schemas
from curator_pipelines.jobs.compare.match import Samples
from curator_pipelines.jobs.compare.sides import Side

__all__ = ["samples_of"]


def samples_of(side: Side) -> Samples:
    """The samples of a selection, as `match_all` takes them."""
    versions = {part.url: (part.stat.size, part.stat.version) for part in side.parts}
    return Samples(side.samples["shard"], side.samples["key"], versions, lambda places: _hashes(side, places))


def _hashes(side: Side, places: NDArray[np.int64]) -> pa.Array:
    """The sha256 of the images at some places of the order of choice, large_string (n,); null where it is not known."""
    if not len(places):
        return pa.array([], pa.large_string())
    ids = side.target.selection.ids[places]
    found, hashes = _in_manifest(side, ids)
    missing = np.flatnonzero(~found)
    if len(missing):
        others = _whole(side.target.directory.pool.rows(ids[missing], ["sha256"])["sha256"])
        hashes = pc.replace_with_mask(hashes, pa.array(~found), others)
    return hashes


def _in_manifest(side: Side, ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], pa.Array]:
    """Which ids the manifest has, and their sha256; null for all others.

    An id means one state of one sample for ever, so a manifest of an earlier selection is as good.
    """
    try:
        url = side.target.directory.path("shards", "manifest.parquet")
        table = parquet.read_table(url, schemas.MANIFEST, ["id", "sha256"])
    except FileNotFoundError:
        return np.zeros(len(ids), np.bool_), pa.nulls(len(ids), pa.large_string())
    rows = pc.index_in(pa.array(ids), table["id"].combine_chunks())
    return rows.is_valid().to_numpy(zero_copy_only=False), _whole(table["sha256"]).take(rows)


def _whole(column: pa.ChunkedArray) -> pa.LargeStringArray:
    """A column as one array: all hashes together may be more than the 2 GiB that a string array holds."""
    return column.cast(pa.large_string()).combine_chunks()
