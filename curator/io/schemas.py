"""The Arrow schema of every parquet file curator writes: the one place where columns and dtypes stand.

Each file carries `curator.format` and `curator.version` in its metadata; a version this code does not
know is refused.
"""

from __future__ import annotations

import pyarrow as pa

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
