"""Around the units of packing: is there anything to do, make room, and close with manifest and sizes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import CuratorError
from curator.io import parquet, schemas, storage
from curator.packing.plan import OutputShard, SelectedRows, plan_hash
from curator.packing.write import COLUMNS, manifest_columns
from curator.store.part_reader import PartReader

__all__ = ["MANIFEST", "SIZES", "finish", "is_current", "prepare", "read_sizes", "write_manifest_only"]

MANIFEST = "manifest.parquet"
SIZES = "sizes.json"
PLAN = "curator.plan"
BLOCK_ROWS = 1 << 16


def is_current(out_url: str, shards: Sequence[OutputShard]) -> bool:
    """True if exactly this plan was packed and finished here, and all its tars still stand.

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
    wanted = {shard.name: len(shard.chosen) for shard in shards}
    return sizes == wanted and wanted.keys() <= set(storage.list_names(folder))


def prepare(out_url: str, shards: Sequence[OutputShard]) -> set[int]:
    """Make a run directory ready for packing a plan; only its owner may.

    First sizes.json and the manifest go, so that no reader meets a mixture; then tars beyond the plan, the
    done-marks of other plans, and what killed writers left.

    Returns:
        The numbers of the units that are done: their tar stands, and a done-mark of the same content.
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
    # Marks first: one that outlived its tar's replacement would vouch for other bytes.
    _remove_all(storage.join(marks, name) for name in sorted(stale))
    _remove_all(storage.join(folder, name) for name in sorted(surplus))
    return {shard.number for shard in done}


def finish(out_url: str, shards: Sequence[OutputShard]) -> None:
    """Close the packing of a plan: write the manifest, then sizes.json, then remove the done-marks.

    Memory: the rows of one output shard. The manifest is in tar order, shard after shard.

    Raises:
        CuratorError: a unit is not done.
    """
    for shard in _undone(out_url, shards):
        raise CuratorError(f"{shard.name} is not packed yet: run again")
    tables = (parquet.read_table(shard.mark_url(out_url), schemas.MANIFEST) for shard in shards)
    _write_manifest(out_url, tables, plan_hash(shards))
    # Of workers that were killed on the way.
    storage.remove_temporaries(storage.join(out_url, "shards"))
    sizes = {shard.name: len(shard.chosen) for shard in shards}
    storage.write_bytes(storage.join(out_url, "shards", SIZES), (json.dumps(sizes, indent=1) + "\n").encode())
    storage.remove(storage.join(out_url, "packing"))


def write_manifest_only(store: PartReader, chosen: SelectedRows, out_url: str) -> None:
    """Write the manifest of a selection that is not packed: no output shard, no output key, in pool order.

    Tars of an earlier packing are removed with their sizes.json, since the manifest is no longer theirs.
    Memory: the metadata of the parts that `BLOCK_ROWS` samples lie in.

    Args:
        store: the pool; its parts may be ready embeddings, whose unknown columns stay null.
        chosen: what was chosen.
        out_url: the run directory.
    """
    prepare(out_url, [])
    cuts = (chosen.cut(start, start + BLOCK_ROWS) for start in range(0, len(chosen), BLOCK_ROWS))
    tables = (manifest_columns(store.rows(cut.ids, COLUMNS), cut) for cut in cuts)
    _write_manifest(out_url, tables, "")


def read_sizes(out_url: str) -> dict[str, int]:
    """Output shard -> number of samples, as sizes.json says.

    Raises:
        FileNotFoundError: it is not there: nothing is packed, or packing is not finished.
        ValueError: it is not what `finish` writes.
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


def _remove_all(urls: Iterable[str]) -> None:
    with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
        list(threads.map(storage.remove, urls))
