"""The Arrow schema of every parquet file curator writes: the one place where columns and dtypes stand.

Each file carries `curator.format` and `curator.version` in its metadata; a version this code does not
know is refused.
"""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import InputError
from curator.io import storage

__all__ = [
    "DUPLICATES",
    "FORMAT_VERSION",
    "MANIFEST",
    "METADATA",
    "PARTS",
    "QUARANTINE",
    "ROUNDS",
    "SAMPLES",
    "SELECTED",
    "SKIPPED",
    "STANDS_FOR",
    "read_table",
    "write_table",
]

FORMAT_VERSION = 2
MEMBER = pa.struct([("ext", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])


def _schema(name: str, fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    labels = {"curator.format": name, "curator.version": str(FORMAT_VERSION)}
    return pa.schema(fields, metadata=labels)


PARTS = _schema(
    "parts",
    [
        ("part", pa.int32()),
        ("url", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),  # etag or mtime
        ("kind", pa.string()),  # tar, folder, embeddings
    ],
)
METADATA = _schema(
    "metadata",
    [
        ("image_path", pa.string()),  # the key, under clip-retrieval's name for it
        ("shard", pa.string()),
        ("part", pa.int32()),
        ("index", pa.int32()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("members", pa.list_(MEMBER)),
    ],
)
QUARANTINE = _schema(
    "quarantine",
    [
        ("shard", pa.string()),
        ("key", pa.string()),
        ("offset", pa.int64()),
        ("station", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ],
)
CHOSEN_ROW = [
    ("id", pa.int64()),
    ("shard", pa.string()),
    ("key", pa.string()),
    ("score", pa.float32()),
    ("centroid", pa.int32()),
    ("round", pa.int32()),
]
SELECTED = _schema("selected", CHOSEN_ROW)
SKIPPED = _schema(
    "skipped",
    [
        *CHOSEN_ROW,
        ("reason", pa.string()),  # denied, near_evaluation, duplicate, near_duplicate
        ("because", pa.string()),  # the deny list, or the match as SHARD<TAB>KEY
        ("match", pa.int64()),  # its id: in the pool for duplicates, in OUT/exclude for near_evaluation
        ("similarity", pa.float32()),  # to the match
    ],
)
DUPLICATES = _schema(
    "duplicates",
    [
        ("shard", pa.string()),  # with `key` what a deny list needs
        ("key", pa.string()),
        ("id", pa.int64()),
        ("reason", pa.string()),  # duplicate, near_duplicate
        ("match", pa.int64()),  # the sample that stays
        ("match_shard", pa.string()),
        ("match_key", pa.string()),
        ("similarity", pa.float32()),  # null for copies
    ],
)
ROUNDS = _schema(
    "rounds",
    [("round", pa.int32()), ("mean_score", pa.float64()), ("ratio", pa.float64()), ("chosen", pa.int64())],
)
STANDS_FOR = pa.struct([("id", pa.int64()), ("shard", pa.string()), ("key", pa.string()), ("similarity", pa.float32())])
MANIFEST = _schema(
    "manifest",
    [
        ("out_shard", pa.string()),
        ("out_key", pa.string()),
        ("id", pa.int64()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("score", pa.float32()),
        ("centroid", pa.int32()),
        ("round", pa.int32()),
        ("members", pa.list_(MEMBER)),
        ("stands_for", pa.list_(STANDS_FOR)),  # the duplicates that were skipped because of it
    ],
)

# A training run's samples; `curator.sources.find` in the file's metadata describes the sources they are in.
SAMPLES = _schema(
    "samples",
    [("source", pa.int32()), ("key", pa.string()), ("offset", pa.int64()), ("size", pa.int64())],
)


def write_table(url: str, schema: pa.Schema, columns: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write one parquet file, whole, from columns (name -> values) or from rows.

    The same values give the same bytes, on the same pyarrow.
    """
    if isinstance(columns, dict):
        table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    else:
        table = pa.Table.from_pylist(columns, schema=schema)
    with storage.write_file(url) as path:
        pq.write_table(table, path, compression="zstd")


def read_table(url: str, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """Read a parquet file that curator wrote.

    Raises:
        FileNotFoundError: it is not there.
        InputError: it is another kind of file, or a version that this code does not know.
    """
    source = str(storage.local_path(url)) if storage.is_local(url) else io.BytesIO(storage.read_bytes(url))
    try:
        # memory_map and the dataset reader would keep the file open or add columns of their own.
        with pq.ParquetFile(source) as file:
            check_format(file.schema_arrow, schema, url)
            return file.read(columns=columns)
    except pa.ArrowInvalid as error:
        raise InputError(f"{url} is not a parquet file curator wrote: {error}") from error


def check_format(found: pa.Schema, wanted: pa.Schema, url: str) -> None:
    """Refuse a parquet file of another kind or of an unknown version."""
    labels, expected = found.metadata or {}, wanted.metadata
    kind = labels.get(b"curator.format")
    if kind != expected[b"curator.format"]:
        raise InputError(f"{url} is no '{expected[b'curator.format'].decode()}' file of curator's")
    version = labels.get(b"curator.version")
    if version != expected[b"curator.version"]:
        raise InputError(
            f"{url} has format version {(version or b'?').decode()}, this curator reads {FORMAT_VERSION}: "
            "use the curator that wrote it, or run again with another --out"
        )
