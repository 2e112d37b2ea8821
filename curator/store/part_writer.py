"""A part is written while it is made: blocks of rows go to their files, and none stays in memory."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curator.io import FileHash, npy, parquet, part_files, schemas, storage
from curator.store.done_mark import DoneMark
from curator.types import EmbeddingBlock, SampleRow

if TYPE_CHECKING:
    from curator.store.part_store import PartStore

__all__ = ["PartWriter"]


class PartWriter:
    """Takes the rows of a part block by block, in order. Nothing is seen of them before `finish`.

    Memory: one row group of the metadata, whatever the part has.

    Args:
        store: where the part goes.
        part: its number.
        identity: see `part_of`.
        shard: the name of its source.
        dim: columns of the array.
    """

    def __init__(self, store: PartStore, part: int, identity: str, shard: str, dim: int) -> None:
        self._store, self._part, self._identity, self._shard, self._dim = store, part, identity, shard, dim

    def __enter__(self) -> PartWriter:
        name = (self._store.url, self._part, self._identity)
        with ExitStack() as files:
            # What is entered first appears last: metadata stand after the array, as the done-mark after both.
            self._metadata = files.enter_context(storage.write_file(part_files.metadata_url(*name)))
            self._array = files.enter_context(storage.write_file(part_files.array_url(*name)))
            self._begin()
            # Closing may fail where the disk is full: what is half written goes even then.
            files.callback(self._close)
            self._files = files.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def restart(self) -> None:
        """Begin anew: nothing was added."""
        self._close()
        self._begin()

    def _begin(self) -> None:
        self._rows = npy.RowWriter(self._array, self._dim, np.float16)
        self._table = parquet.TableWriter(self._metadata, schemas.METADATA)
        self._waiting: list[pa.RecordBatch] = []

    def add(self, block: EmbeddingBlock) -> None:
        """Add rows."""
        first = self._rows.count
        self._rows.write(block.vectors)
        if block.rows:
            self._waiting.append(_batch(self._part, first, self._shard, block.rows))
        if sum(len(batch) for batch in self._waiting) >= parquet.ROW_GROUP:
            self._write_group(parquet.ROW_GROUP)

    def finish(self, mark: DoneMark) -> DoneMark:
        """Store the part; the done-mark goes last.

        Returns:
            the done-mark with the hashes of the files.
        """
        while self._waiting:
            self._write_group(parquet.ROW_GROUP)
        if not self._rows.count:
            self._table.write({field.name: pa.nulls(0, field.type) for field in schemas.METADATA})
        self._close()
        mark = replace(mark, array=self._rows.file_hash(), metadata=FileHash.of(self._metadata))
        self._files.close()
        self._store.mark(self._part, self._identity, mark)
        return mark

    def _write_group(self, rows: int) -> None:
        table = pa.Table.from_batches(self._waiting)
        self._table.write({name: table[name][:rows] for name in table.column_names})
        # The rest alone: a slice would hold all of it in memory.
        self._waiting = table[rows:].combine_chunks().to_batches() if table.num_rows > rows else []

    def _close(self) -> None:
        self._rows.close()
        self._table.close()


def _batch(part: int, first: int, shard: str, rows: list[SampleRow]) -> pa.RecordBatch:
    columns: dict[str, Any] = {
        "image_path": [row.key for row in rows],
        "shard": pa.repeat(pa.scalar(shard, pa.string()), len(rows)),
        "part": np.full(len(rows), part, np.int32),
        "index": np.arange(first, first + len(rows), dtype=np.int32),
        "offset": [row.offset for row in rows],
        "size": [row.size for row in rows],
        "sha256": [row.sha256 for row in rows],
        "sample_sha256": [row.sample_sha256 for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "members": [[{"ext": m.ext, "offset": m.offset, "size": m.size} for m in row.members] for row in rows],
    }
    arrays = [columns[field.name] for field in schemas.METADATA]
    return pa.record_batch(
        [
            values if isinstance(values, pa.Array) else pa.array(values, field.type)
            for values, field in zip(arrays, schemas.METADATA, strict=True)
        ],
        schema=schemas.METADATA,
    )
