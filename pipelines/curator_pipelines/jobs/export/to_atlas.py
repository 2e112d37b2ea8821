"""Chosen, target and a sample of the pool as one parquet file that Embedding Atlas opens."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.io import public_name, storage
from curator.store import RowReader
from curator.types import unit_rows
from curator_pipelines.jobs.export.chosen import COLUMNS, Written
from curator_pipelines.jobs.pictures import Original, read_thumbnails
from curator_pipelines.jobs.report import TargetRecord, in_hash_order, place
from curator_pipelines.run import StageProgress

__all__ = ["write_atlas"]

NAME = "atlas.parquet"
# Rows: beyond, points hide each other, and neighbour methods take hours.
MOST_CHOSEN, MOST_TARGETS = 20_000, 5_000
AT_A_TIME = 500
# Seconds for the thumbnails of so many.
SECONDS = 600.0
# The viewer's table shows columns in this order, and has room for about five of them.
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("kind", pa.string()),
        ("target", pa.string()),
        ("score", pa.float32()),
        ("place", pa.int32()),
        ("key", pa.string()),
        ("centroid", pa.int32()),
        ("round", pa.int32()),
        ("shard", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("x", pa.float32()),
        ("y", pa.float32()),
    ]
)


def write_atlas(target: TargetRecord, dest: str, seed: int, progress: StageProgress) -> Written:
    """Write `atlas.parquet`: places in the plane, thumbnails and what is known.

    Of up to 20,000 chosen samples, 5,000 of the target and 2,000 of the pool.

    Cost: as the map of a report, for more points; a range request a thumbnail. It is written anew by each call.
    """
    selection = target.selection
    # Of more than that, the first in order of choice.
    chosen = selection.ids[:MOST_CHOSEN]
    rows = {
        "chosen": chosen,
        "target": in_hash_order(target.target_ids, MOST_TARGETS),
        "pool": np.setdiff1d(target.pool_sample, selection.ids),
    }
    readers = {name: RowReader(target.directory.target) if name == "target" else target.pool_rows for name in rows}
    vectors = np.concatenate([readers[name].vectors(ids) for name, ids in rows.items() if len(ids)])
    points, method = place(unit_rows(vectors)[0], seed)
    written, without = Written(samples=len(chosen)), 0
    schema = _schema(target)
    with storage.write_file(storage.join(dest, NAME)) as path, pq.ParquetWriter(path, schema) as writer:
        start = 0
        for kind, ids in rows.items():
            placed = points[start : start + len(ids)]
            start += len(ids)
            for table, missing in _tables(target, kind, ids, placed):
                writer.write_table(table.select(schema.names))
                without += missing
                progress({"samples": table.num_rows if kind == "chosen" else 0})
    if len(selection.ids) > len(chosen):
        written.notes.append(f"the first {len(chosen):,} of {len(selection.ids):,} chosen samples")
    if without:
        written.notes.append(f"{without:,} rows have no thumbnail: their images could not be read")
    url = shlex.quote(public_name(storage.join(dest, NAME)))
    written.notes.append(f"by {method}; open it by: embedding-atlas {url} --x x --y y --image image")
    return written


def _schema(target: TargetRecord) -> pa.Schema:
    """Without the columns that would be empty: a viewer draws a chart for each."""
    selection = target.selection
    empty = {
        "target": not target.directory.name,
        "score": bool(np.isnan(selection.scores).all()),
        "centroid": bool((selection.anchors < 0).all()),
        "round": bool((selection.rounds < 0).all()),
    }
    return pa.schema([field for field in SCHEMA if not empty.get(field.name, False)])


def _tables(
    target: TargetRecord, kind: str, ids: NDArray[np.int64], points: NDArray[np.float64]
) -> Iterator[tuple[pa.Table, int]]:
    """Rows of one kind, some at a time, and how many of them have no thumbnail."""
    store = target.directory.target if kind == "target" else target.directory.pool
    kinds, urls = {part.url: part.kind for part in store.registered()}, store.moved_urls()
    for start in range(0, len(ids), AT_A_TIME):
        some = slice(start, start + AT_A_TIME)
        rows = store.rows(ids[some], COLUMNS).to_pylist()
        thumbnails = read_thumbnails([_original(row, kinds, urls) for row in rows], SECONDS)
        images = [None if image is None else {"bytes": image.large, "path": "image.jpg"} for image in thumbnails.images]
        columns: dict[str, Any] = {
            "x": points[some, 0].astype(np.float32),
            "y": points[some, 1].astype(np.float32),
            "image": images,
            "kind": [kind] * len(rows),
            "target": [target.directory.name] * len(rows),
            "key": [row["image_path"] for row in rows],
            "shard": [row["shard"] for row in rows],
            **(_of_choice(target, start, len(rows)) if kind == "chosen" else {}),
            "width": [row["width"] for row in rows],
            "height": [row["height"] for row in rows],
        }
        arrays = [pa.array(columns.get(field.name, [None] * len(rows)), field.type) for field in SCHEMA]
        yield pa.Table.from_arrays(arrays, schema=SCHEMA), sum(image is None for image in images)


def _of_choice(target: TargetRecord, start: int, count: int) -> dict[str, list[Any]]:
    selection, some = target.selection, slice(start, start + count)
    return {
        "place": list(range(start + 1, start + count + 1)),
        "score": [None if math.isnan(score) else score for score in selection.scores[some].tolist()],
        "centroid": [anchor if anchor >= 0 else None for anchor in selection.anchors[some].tolist()],
        "round": [turn if turn >= 0 else None for turn in selection.rounds[some].tolist()],
    }


def _original(row: dict[str, Any], kinds: dict[str, str], urls: dict[str, str]) -> Original:
    kind, url = kinds.get(row["shard"], "tar"), urls.get(row["shard"], "")
    return Original(kind, row["shard"], row["image_path"], row["offset"], row["size"], row["sha256"], url)
