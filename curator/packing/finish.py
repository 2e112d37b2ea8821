"""Before and after the output shards are written: what is done already, and the manifest and sizes at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import CuratorError
from curator.io import parquet, schemas, storage
from curator.packing.plan import OutputShard, SelectedRows, plan_hash
from curator.packing.write import COLUMNS, manifest_columns
from curator.store import PartReader

__all__ = [
    "MANIFEST",
    "SIZES",
    "begin_packing",
    "finish_packing",
    "is_packed",
    "read_sizes",
    "write_manifest_only",
]

MANIFEST = "manifest.parquet"
SIZES = "sizes.json"
# Under this name the manifest's file metadata has the hash of all output shards.
PLAN = "curator.plan"
# Rows of the manifest that are written at a time where there are no output shards.
BLOCK_ROWS = 1 << 16


def is_packed(out_url: str, shards: Sequence[OutputShard]) -> bool:
    """True if exactly these output shards were packed and finished, and all their tars still stand.

    Cost: one listing, the sizes, and the end of the manifest.
    """
    folder = storage.join(out_url, "shards")
    try:
        sizes = read_sizes(out_url)
        with storage.open_stream(storage.join(folder, MANIFEST)) as stream:
            labels = pq.read_schema(stream).metadata or {}
    except (FileNotFoundError, pa.ArrowInvalid, ValueError):
        return False
    if labels.get(PLAN.encode()) != plan_hash(shards).encode():
        return False
    expected = {shard.name: len(shard.chosen) for shard in shards}
    return sizes == expected and expected.keys() <= set(storage.list_names(folder))


def begin_packing(out_url: str, shards: Sequence[OutputShard]) -> set[int]:
    """Make a run directory ready for packing these output shards. Only the owner of the directory may do so.

    First sizes.json and the manifest are removed, so that no reader meets a mixture. Then surplus tars, the
    done-marks of other contents, and the files that killed writers left are removed.

    Returns:
        the numbers of the output shards that are done: the tar stands, and a done-mark of the same content.
    """
    folder, marks = storage.join(out_url, "shards"), storage.join(out_url, "packing")
    storage.remove(storage.join(folder, SIZES))
    storage.remove(storage.join(folder, MANIFEST))
    for url in (folder, marks):
        storage.remove_temporaries(url)
    tars = {name for name in storage.list_names(folder) if name.endswith(".tar")}
    marked = set(storage.list_names(marks))
    done = {shard for shard in shards if shard.name in tars and shard.mark_name in marked}
    surplus = tars - {shard.name for shard in shards}
    stale = marked - {shard.mark_name for shard in done}
    # Marks go first: a mark that outlives the replacement of its tar would vouch for other bytes.
    storage.remove_files([storage.join(marks, name) for name in sorted(stale)])
    storage.remove_files([storage.join(folder, name) for name in sorted(surplus)])
    return {shard.number for shard in done}


def finish_packing(out_url: str, shards: Sequence[OutputShard]) -> None:
    """Write the manifest, then sizes.json, then remove the done-marks.

    Memory: the rows of one output shard. The manifest is in tar order, shard after shard.

    Raises:
        CuratorError: an output shard is not done.
    """
    for shard in _undone(out_url, shards):
        raise CuratorError(f"{shard.name} is not packed yet", advice="run again")
    tables = (parquet.read_table(shard.mark_url(out_url), schemas.MANIFEST) for shard in shards)
    _write_manifest(out_url, tables, plan_hash(shards))
    # Workers that were killed on the way left these.
    storage.remove_temporaries(storage.join(out_url, "shards"))
    sizes = {shard.name: len(shard.chosen) for shard in shards}
    storage.write_bytes(storage.join(out_url, "shards", SIZES), (json.dumps(sizes, indent=1) + "\n").encode())
    storage.remove(storage.join(out_url, "packing"))


def write_manifest_only(store: PartReader, chosen: SelectedRows, out_url: str) -> None:
    """Write the manifest of a selection that is not packed: no output shard, no output key, in pool order.

    Tars of an earlier packing are removed with their sizes.json, since the manifest is no longer theirs.
    Memory: the metadata of the parts that `BLOCK_ROWS` samples lie in.

    Args:
        store: the store of the pool. Parts from ready embeddings leave unknown columns null.
        chosen: the chosen rows.
        out_url: the URL of the run directory.
    """
    begin_packing(out_url, [])
    cuts = (chosen.cut(start, start + BLOCK_ROWS) for start in range(0, len(chosen), BLOCK_ROWS))
    tables = (manifest_columns(store.rows(cut.ids, COLUMNS), cut) for cut in cuts)
    _write_manifest(out_url, tables, "")


def read_sizes(out_url: str) -> dict[str, int]:
    """Output shard -> number of samples, as sizes.json says.

    Raises:
        FileNotFoundError: there is no sizes.json: nothing is packed, or packing is not finished.
        ValueError: the content is not what `finish_packing` writes.
    """
    sizes = json.loads(storage.read_bytes(storage.join(out_url, "shards", SIZES)))
    if not isinstance(sizes, dict) or not all(isinstance(count, int) for count in sizes.values()):
        raise ValueError(f"{SIZES} is not a map of file names to counts")
    return sizes


def _undone(out_url: str, shards: Sequence[OutputShard]) -> Iterator[OutputShard]:
    tars = set(storage.list_names(storage.join(out_url, "shards")))
    marks = set(storage.list_names(storage.join(out_url, "packing")))
    return (shard for shard in shards if shard.name not in tars or shard.mark_name not in marks)


def _write_manifest(out_url: str, tables: Iterable[pa.Table], plan: str) -> None:
    schema = schemas.MANIFEST.with_metadata(schemas.MANIFEST.metadata | {PLAN.encode(): plan.encode()})
    with (
        storage.write_file(storage.join(out_url, "shards", MANIFEST)) as path,
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata))
