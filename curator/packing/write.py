"""One output shard: read what is needed, write it in place, then say so."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator.io import schemas, storage
from curator.packing import ustar
from curator.packing.layout import Layout, Place, lay_out
from curator.packing.plan import OutputShard, SelectedRows
from curator.packing.ranges import Read, changed, fetch, plan_reads
from curator.store.part_reader import PartReader

__all__ = ["ImageHash", "PackedShard", "manifest_columns", "pack_shard"]

COLUMNS = ["image_path", "shard", "offset", "size", "sha256", "width", "height", "members"]


@dataclass(frozen=True, slots=True)
class PackedShard:
    """What packing one output shard took.

    Attributes:
        number: the output shard's.
        samples: how many it holds.
        size: bytes of its tar.
        bytes_chosen: bytes of all its members' data.
        bytes_read: bytes read from the sources for them.
    """

    number: int
    samples: int
    size: int
    bytes_chosen: int
    bytes_read: int


class ImageHash:
    """The sha256 of one image after another, from pieces that come in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, place: Place, start: int, piece: memoryview) -> str | None:
        """Take a member's next piece; the hex digest when it was the last, else None."""
        if start == 0:
            self._digest = hashlib.sha256()
        self._digest.update(piece)
        return self._digest.hexdigest() if start + len(piece) == place.size else None


def pack_shard(
    store: PartReader, shard: OutputShard, out_url: str, urls: Mapping[str, str] | None = None
) -> PackedShard:
    """Write one output shard and, after it stands, its done-mark: its rows of the manifest.

    Reads are in the order of the sources, writes in place, so memory holds one read (see
    `ranges.fetch`), whatever the sizes of members, samples and shard, plus the shard's metadata. The same
    plan gives the same bytes.

    Args:
        store: the pool.
        shard: from `plan_shards`.
        out_url: the run directory.
        urls: where to read a source shard, if not under its public name.

    Raises:
        CuratorError: a source cannot be read, or is not what was embedded. Nothing is left behind.
    """
    rows = store.rows(shard.ids, COLUMNS)
    layout = lay_out(shard, rows)
    reads = plan_reads(layout.places)
    with storage.write_file(shard.url(out_url)) as path:
        _write_tar(path, layout, fetch(reads, urls or {}, shard.states))
    columns = manifest_columns(rows, shard.chosen, shard.name, layout.keys).take(pa.array(shard.order()))
    with storage.write_file(shard.mark_url(out_url)) as path:
        pq.write_table(columns, path, compression="zstd")
    return PackedShard(
        shard.number,
        len(shard.chosen),
        layout.size,
        sum(place.size for place in layout.places),
        sum(read.end - read.start for read in reads),
    )


def manifest_columns(
    rows: pa.Table, chosen: SelectedRows, out_shard: str | None = None, out_keys: list[str] | None = None
) -> pa.Table:
    """The manifest's rows of some samples, in the order of their ids.

    Args:
        rows: their metadata, with `COLUMNS`.
        chosen: the same samples.
        out_shard: the output shard's file name; None where nothing is packed.
        out_keys: the samples' names in it.
    """
    columns: dict[str, Any] = {name: rows[name] for name in COLUMNS if name != "image_path"}
    columns |= {
        "out_shard": pa.repeat(pa.scalar(out_shard, pa.string()), len(rows)),
        "out_key": pa.nulls(len(rows), pa.string()) if out_keys is None else out_keys,
        "id": chosen.ids,
        "key": rows["image_path"],
        # What a selector does not know is null, not a number that looks like one.
        "score": pa.array(chosen.score, pa.float32(), mask=np.isnan(chosen.score)),
        "centroid": pa.array(chosen.centroid, pa.int32(), mask=chosen.centroid < 0),
        "round": pa.array(chosen.round, pa.int32(), mask=chosen.round < 0),
        "stands_for": [None] * len(rows) if chosen.stands_for is None else chosen.stands_for,
    }
    arrays = [
        values if isinstance(values, pa.ChunkedArray | pa.Array) else pa.array(values, field.type)
        for field in schemas.MANIFEST
        for values in [columns[field.name]]
    ]
    return pa.table(arrays, schema=schemas.MANIFEST)


def _write_tar(path: Path, layout: Layout, fetched: Iterable[tuple[Read, bytes]]) -> None:
    with open(path, "wb", buffering=0) as file:
        file.truncate(layout.size)  # what nobody writes is zeros: padding and end
        _copy(file.fileno(), fetched)


def _copy(file: int, fetched: Iterable[tuple[Read, bytes]]) -> None:
    image = ImageHash()
    for read, data in fetched:
        for place, start, piece in read.pieces(data):
            # Every member has a first piece: an empty one has an empty one.
            before = ustar.header(place.name, place.size) if start == 0 else b""
            _write(file, before, piece, place.target + start - len(before))
            if place.sha256:
                found = image.add(place, start, piece)
                if found not in (None, place.sha256):
                    raise changed(place, "its image has another sha256")


def _write(file: int, before: bytes, piece: memoryview, position: int) -> None:
    written = os.pwritev(file, [before, piece], position)
    whole = before + piece if written < len(before) + len(piece) else b""
    while written < len(whole):
        written += os.pwrite(file, whole[written:], position + written)
