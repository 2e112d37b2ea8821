"""Writing one output shard, and then its done-mark."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curator.io import schemas, storage
from curator.packing import ustar
from curator.packing.layout import MemberCopy, SampleRange, TarLayout, lay_out
from curator.packing.plan import OutputShard, SelectedRows
from curator.packing.ranges import Chunk, RangeChunk, Read, fetch_reads, plan_reads, source_changed
from curator.store import PartFiles

__all__ = ["ChunkHash", "PackedShard", "manifest_columns", "pack_shard"]

COLUMNS = ["image_path", "shard", "offset", "size", "sha256", "sample_sha256", "width", "height", "members"]

# Bytes. With smaller chunks two threads wait for each other longer than either hashes.
SMALL = 32 << 10
# One call writes at most three pieces more than this; the system takes 1,024.
MOST_PIECES = 500


@dataclass(frozen=True, slots=True)
class PackedShard:
    """What packing one output shard took.

    Attributes:
        number: the number of the output shard.
        samples: the number of its samples.
        size: the bytes of its tar.
        bytes_chosen: the bytes of data of all its members.
        bytes_read: the bytes that were read from the sources for them.
    """

    number: int
    samples: int
    size: int
    bytes_chosen: int
    bytes_read: int


class ChunkHash:
    """The sha256 of images and samples whose chunks come in order, alternating between those that share bytes."""

    def __init__(self) -> None:
        self._open: dict[MemberCopy | SampleRange, Any] = {}

    def add(self, copy: MemberCopy | SampleRange, start: int, chunk: memoryview) -> str | None:
        """Add the next chunk. Returns the hex digest if the chunk was the last one, else None."""
        digest = hashlib.sha256() if start == 0 else self._open.pop(copy)
        digest.update(chunk)
        if start + len(chunk) == copy.size:
            return str(digest.hexdigest())
        self._open[copy] = digest
        return None


def pack_shard(
    store: PartFiles, shard: OutputShard, out_url: str, urls: Mapping[str, str] | None = None
) -> PackedShard:
    """Write one output shard and, after it stands, its done-mark: its rows of the manifest.

    Reads are in the order of the sources, and every chunk is written to its final position. So memory holds one read
    more than `ranges.fetch_reads` does, which is hashed meanwhile, whatever the sizes of members, samples and shard,
    plus the metadata of the shard. The same output shard gives the same bytes.

    Args:
        store: the store of the pool.
        shard: the output shard, from `plan_shards`.
        out_url: the URL of the run directory.
        urls: public name of a source shard -> URL to read it from, where they differ.

    Raises:
        CuratorError: a source cannot be read, or is not what was embedded, or TMPDIR has no room for a shard of an
            object store. Nothing is left behind.
    """
    rows = store.rows(shard.ids, COLUMNS)
    with _collector_paused():
        layout = lay_out(shard, rows)
        reads = plan_reads(layout.copies, layout.ranges)
    with storage.write_file(shard.url(out_url), layout.size) as path:
        _write_tar(path, layout, fetch_reads(reads, urls or {}, shard.states))
    columns = manifest_columns(rows, shard.chosen, shard.name, layout.keys).take(pa.array(shard.order()))
    with storage.write_file(shard.mark_url(out_url)) as path:
        pq.write_table(columns, path, compression="zstd")
    return PackedShard(
        shard.number,
        len(shard.chosen),
        layout.size,
        sum(copy.size for copy in layout.copies),
        sum(read.end - read.start for read in reads),
    )


def manifest_columns(
    rows: pa.Table, chosen: SelectedRows, out_shard: str | None = None, out_keys: list[str] | None = None
) -> pa.Table:
    """The manifest's rows of chosen samples, in the order of their ids.

    Args:
        rows: the metadata of the samples, with `COLUMNS`.
        chosen: the chosen rows of the same samples.
        out_shard: the file name of the output shard; None where nothing is packed.
        out_keys: the names of the samples in it.
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


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Python looks for no garbage meanwhile.

    A layout is tens of thousands of tuples, and it would go through all of them each time that a quarter more stand: a
    fifth of the time of packing, to find none.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _write_tar(path: Path, layout: TarLayout, fetched: Iterable[tuple[Read, bytes]]) -> None:
    with open(path, "wb", buffering=0) as file:
        # Bytes that are not written later are zeros: the padding and the end of the archive.
        file.truncate(layout.size)
        _copy(file.fileno(), fetched)


def _copy(file: int, fetched: Iterable[tuple[Read, bytes]]) -> None:
    hashes = ChunkHash()
    checked: Future[None] = Future()
    checked.set_result(None)
    # Hashing takes as long as reading and writing together, and needs no Python meanwhile: so it goes on beside them.
    with ThreadPoolExecutor(1) as beside:
        try:
            for read, data in fetched:
                checked.result()
                chunks = list(read.chunks(data))
                to_check = hashes, chunks, read.range_chunks(data)
                if len(data) < SMALL * len(chunks):
                    _check(*to_check)
                else:
                    checked = beside.submit(_check, *to_check)
                # In the order of the output: what will stand side by side is written together.
                _write_chunks(file, sorted(chunks, key=lambda chunk: chunk[0].target_offset + chunk[1]))
        except Exception:
            # What an earlier read was found to be comes first.
            checked.result()
            raise
        checked.result()


def _write_chunks(file: int, chunks: Iterable[Chunk]) -> None:
    """Each chunk to its place, the first of a member with its header; what stands side by side by one call."""
    pieces: list[bytes | memoryview] = []
    begin = end = 0
    for copy, start, chunk in chunks:
        # Every member has a first chunk, which is empty for an empty member.
        before = ustar.header(copy.name, copy.size) if start == 0 else b""
        position = copy.target_offset + start - len(before)
        if pieces and (not 0 <= position - end < ustar.BLOCK or len(pieces) > MOST_PIECES):
            _write(file, pieces, begin)
            pieces = []
        if not pieces:
            begin = end = position
        pieces += [bytes(position - end), before, chunk]
        end = position + len(before) + len(chunk)
    if pieces:
        _write(file, pieces, begin)


def _check(hashes: ChunkHash, chunks: Iterable[Chunk], range_chunks: Iterable[RangeChunk]) -> None:
    """Hash the chunks of the next read; raises where what was read is not what was embedded."""
    for copy, start, chunk in chunks:
        if copy.sha256 and hashes.add(copy, start, chunk) not in (None, copy.sha256):
            raise source_changed(copy, "its image has another sha256")
    # Captions and labels belong to the image: another one of the same size is no better than another image.
    for whole, start, chunk in range_chunks:
        if hashes.add(whole, start, chunk) not in (None, whole.sha256):
            raise source_changed(whole, "its members have another sha256")


def _write(file: int, pieces: list[bytes | memoryview], position: int) -> None:
    written, size = os.pwritev(file, pieces, position), sum(map(len, pieces))
    whole = b"".join(pieces) if written < size else b""
    while written < size:
        written += os.pwrite(file, whole[written:], position + written)
