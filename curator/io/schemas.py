"""The Arrow schema of every parquet file that curator writes: the one place where columns and dtypes stand.

Each file carries `curator.format` and `curator.version` in its metadata. A version that this code does not
know is refused.
"""

from __future__ import annotations

import pyarrow as pa

__all__ = [
    "DUPLICATES",
    "FORMAT_VERSION",
    "HELD_OUT",
    "MANIFEST",
    "MEASURED",
    "METADATA",
    "NEAREST",
    "NEXT",
    "PARTS",
    "PREDICTIONS",
    "QUARANTINE",
    "ROUNDS",
    "SAMPLES",
    "SELECTED",
    "SKIPPED",
    "STANDS_FOR",
]

FORMAT_VERSION = 3
# One file of a sample.
MEMBER = pa.struct([("ext", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])


def _schema(name: str, fields: list[tuple[str, pa.DataType]]) -> pa.Schema:
    labels = {"curator.format": name, "curator.version": str(FORMAT_VERSION)}
    return pa.schema(fields, metadata=labels)


# A row is one part: a source, and the state in which it was embedded. No number is ever given twice.
PARTS = _schema(
    "parts",
    [
        ("part", pa.int32()),
        ("url", pa.string()),
        ("size", pa.int64()),  # of ready embeddings: array and metadata together
        ("version", pa.string()),  # etag or mtime; of ready embeddings both files'
        ("kind", pa.string()),  # tar, folder, embeddings
        ("identity", pa.string()),  # the hash in the names of its files: no others count
        ("min_side", pa.int32()),  # images with a shorter side are not in it; 0 where all are
        ("state", pa.string()),  # active; kept: may be outdated; retired: gone or changed
        # Where its files are if another store holds them, and its number there; null for this store's own.
        ("store", pa.string()),
        ("store_part", pa.int32()),
        ("store_content", pa.string()),  # the hash of the array and metadata there
        # Where the source is read since it moved, and its version there; null for one that did not.
        ("read_url", pa.string()),
        ("read_version", pa.string()),
    ],
)
# A row is one embedded sample, in the order of its part's array.
METADATA = _schema(
    "metadata",
    [
        ("image_path", pa.string()),  # the key, under clip-retrieval's name for it
        ("shard", pa.string()),
        ("part", pa.int32()),
        ("index", pa.int32()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),  # of the image
        # Of the shard's bytes from the header of the first member to the end of the last; null where it is not known.
        ("sample_sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("members", pa.list_(MEMBER)),
    ],
)
# A row is one sample that was left out, or one piece of damage in a shard.
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
# What is known about a row of the pool that a selector ranked.
RANKED_ROW = [
    ("id", pa.int64()),
    ("shard", pa.string()),
    ("key", pa.string()),
    ("score", pa.float32()),
    ("centroid", pa.int32()),
    ("round", pa.int32()),
]
# A row is one chosen sample, in order of choice.
SELECTED = _schema("selected", RANKED_ROW)
# A row is one sample that was not chosen, in the order in which they would come next.
NEXT = _schema("next", RANKED_ROW)
# A row is one image of the target, as it is seen from the rest of the target.
HELD_OUT = _schema(
    "held_out",
    [
        ("row", pa.int32()),  # of the target, counted over its parts
        ("shard", pa.string()),
        ("key", pa.string()),
        ("fold", pa.int32()),  # with which it was left out
        ("h", pa.float32()),  # its best score with the centroids of the other folds
        ("rank", pa.float64()),  # the share of the pool's rows, or of a sample of them, that score higher
    ],
)
# A row is one candidate that a filter refused, in order of refusal.
SKIPPED = _schema(
    "skipped",
    [
        *RANKED_ROW,
        ("reason", pa.string()),  # denied, own_image, looks_like_own, near_evaluation, duplicate, near_duplicate
        ("because", pa.string()),  # the deny list, or the match as SHARD<TAB>KEY
        # Its id: in the pool for duplicates, in OUT/exclude for near_evaluation, in OUT/target for own images.
        ("match", pa.int64()),
        ("similarity", pa.float32()),  # to the match
    ],
)
# A row is one target image and the best sample of the pool for it; nulls where the pool has none.
NEAREST = _schema(
    "nearest",
    [
        ("target_row", pa.int64()),  # its place in the target, by part and row
        ("target_key", pa.string()),
        ("id", pa.int64()),
        ("shard", pa.string()),
        ("key", pa.string()),
        ("score", pa.float32()),
    ],
)
# A row is one sample of the pool that a better or earlier sample stands for.
DUPLICATES = _schema(
    "duplicates",
    [
        ("shard", pa.string()),  # with `key`, all that a deny list needs
        ("key", pa.string()),
        ("id", pa.int64()),
        ("reason", pa.string()),  # duplicate, near_duplicate
        ("match", pa.int64()),  # the id of the sample that stays
        ("match_shard", pa.string()),
        ("match_key", pa.string()),
        ("similarity", pa.float32()),  # null for copies
    ],
)
# A row is one round of a selection.
ROUNDS = _schema(
    "rounds",
    [("round", pa.int32()), ("mean_score", pa.float64()), ("ratio", pa.float64()), ("chosen", pa.int64())],
)
# One sample that was skipped as a duplicate of a chosen one.
STANDS_FOR = pa.struct([("id", pa.int64()), ("shard", pa.string()), ("key", pa.string()), ("similarity", pa.float32())])
# A row is one packed sample, in the order of the output shards.
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
        ("sample_sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("score", pa.float32()),
        ("centroid", pa.int32()),
        ("round", pa.int32()),
        ("members", pa.list_(MEMBER)),
        ("stands_for", pa.list_(STANDS_FOR)),  # the samples skipped as its duplicates
    ],
)
# A row is one sample that a training run reads. The file's metadata describes the sources.
SAMPLES = _schema(
    "samples",
    [("source", pa.int32()), ("key", pa.string()), ("offset", pa.int64()), ("size", pa.int64())],
)
# A row is one held-out image of a target, as one encoder ranks it.
MEASURED = _schema(
    "measured",
    [
        ("encoder", pa.string()),
        ("target", pa.string()),  # empty where there is only one
        ("shard", pa.string()),
        ("key", pa.string()),
        ("rank", pa.float64()),  # the share of the pool's images that are nearer to the rest of the target
    ],
)
# A row is one test image of `curator probe`, with what each probe takes it for.
PREDICTIONS = _schema(
    "predictions",
    [
        ("shard", pa.string()),
        ("key", pa.string()),
        ("label", pa.string()),  # the true one
        # The nearest neighbour's label: one, or with a share of the labels one for each seed.
        ("knn_1", pa.list_(pa.string())),
        ("linear", pa.list_(pa.string())),  # one for each seed, from 0
    ],
)
