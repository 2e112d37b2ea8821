"""Parquet files, each written whole with a schema of `curator.io.schemas`. Files of another kind are refused."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import Another, CuratorError, UnusableInput
from curator.io import storage
from curator.io.schemas import FORMAT_VERSION

__all__ = [
    "ROW_GROUP",
    "BlockWriter",
    "TableWriter",
    "check_format",
    "read_footer",
    "read_group",
    "read_table",
    "save_table",
    "write_table",
]

# Rows that are written, and can be read, on their own.
ROW_GROUP = 1 << 16


def write_table(url: str, schema: pa.Schema, columns: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write one parquet file, whole, from columns (name -> values) or from rows.

    The same values give the same bytes, on the same pyarrow.
    """
    with storage.write_file(url) as path:
        save_table(path, schema, columns)


def save_table(path: Path, schema: pa.Schema, columns: dict[str, Any] | list[dict[str, Any]]) -> None:
    """The same to a local path that is not the final one: see `storage.write_file`.

    Columns are lists, arrays, or chunked arrays of any string type: all texts of a column together may be more than the
    2 GiB that one Arrow string array holds.
    """
    if not isinstance(columns, dict):
        table = pa.Table.from_pylist(columns, schema=schema)
        columns = {name: table[name] for name in schema.names}
    rows = len(columns[schema.names[0]])
    with TableWriter(path, schema) as writer:
        for start in range(0, max(rows, 1), ROW_GROUP):
            writer.write({name: columns[name][start : start + ROW_GROUP] for name in schema.names})


class TableWriter:
    """Writes a parquet file to a local path block by block, each at most `ROW_GROUP` rows: one row group each."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()

    def write(self, columns: Mapping[str, Any]) -> None:
        """Write one row group, from columns as `save_table` takes them."""
        arrays = [_array(columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(pa.table(arrays, schema=self._schema), row_group_size=ROW_GROUP)


class BlockWriter(TableWriter):
    """Writes a table that comes some rows at a time: the bytes that `save_table` of all of them would write.

    Memory: a row group, and what was added last.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path, schema)
        self._pending = schema.empty_table()
        self._is_begun = False

    def add(self, table: pa.Table) -> None:
        """Write some more rows, of the writer's schema."""
        self._pending = pa.concat_tables([self._pending, table])
        while len(self._pending) >= ROW_GROUP:
            self._write_first(ROW_GROUP)

    def finish(self) -> None:
        """Write what is left. A file without rows has one row group, too."""
        if len(self._pending) or not self._is_begun:
            self._write_first(ROW_GROUP)

    def _write_first(self, rows: int) -> None:
        self.write({name: self._pending[name][:rows] for name in self._schema.names})
        self._pending = self._pending.slice(rows)
        self._is_begun = True


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


def read_footer(url: str, schema: pa.Schema) -> pq.FileMetaData:
    """What the end of a parquet file that curator wrote says of its row groups; raises as `read_table`."""
    try:
        with _open(url) as source, pq.ParquetFile(source) as file:
            check_format(file.schema_arrow, schema, url)
            return file.metadata
    except pa.ArrowInvalid as reason:
        raise _no_parquet(url, UnusableInput, reason) from reason


def read_group(url: str, footer: pq.FileMetaData, group: int, columns: list[str]) -> pa.Table:
    """Some columns of one row group of the file that `footer` was read from."""
    try:
        with _open(url) as source, pq.ParquetFile(source, metadata=footer) as file:
            return file.read_row_group(group, columns=columns)
    except pa.ArrowInvalid as reason:
        raise _no_parquet(url, UnusableInput, reason) from reason


def _open(url: str) -> IO[bytes]:
    if storage.is_local(url):
        return open(storage.local_path(url), "rb")
    return cast("IO[bytes]", _RemoteFile(url))


class _RemoteFile(io.RawIOBase):
    """A stored file whose reads are one request each, of as many bytes as are asked for."""

    def __init__(self, url: str) -> None:
        self._url, self._state, self._at = url, storage.stat(url), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._state.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._state.size)
        data = storage.read_range(self._url, self._at, end, self._state) if end > self._at else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def read_table(
    url: str,
    schema: pa.Schema,
    columns: list[str] | None = None,
    *,
    data: bytes | None = None,
    error: type[CuratorError] = UnusableInput,
) -> pa.Table:
    """Read a parquet file that curator wrote.

    Args:
        url: the file.
        data: its content, where that was read already.
        schema: the schema of `curator.io.schemas` that the file should have.
        columns: the names of the columns to read; None for all.
        error: what is raised for another file: `InputError` for callers that run before anything is written.

    Raises:
        FileNotFoundError: there is no such file.
        CuratorError: of the class `error`: the file is of another kind, or of a version that this code does not know.
    """
    is_path = data is None and storage.is_local(url)
    source = str(storage.local_path(url)) if is_path else io.BytesIO(data or storage.read_bytes(url))
    try:
        # memory_map and the dataset reader would keep the file open or add columns of their own.
        with pq.ParquetFile(source) as file:
            check_format(file.schema_arrow, schema, url, error=error)
            return file.read(columns=columns)
    except pa.ArrowInvalid as reason:
        raise _no_parquet(url, error, reason) from reason


def _no_parquet(url: str, error: type[CuratorError], reason: Exception) -> CuratorError:
    return error(f"{url} is not a parquet file that curator wrote: {reason}")


def check_format(
    stored: pa.Schema, expected: pa.Schema, url: str, *, error: type[CuratorError] = UnusableInput
) -> None:
    """Refuse a parquet file of another kind or of an unknown version.

    Args:
        stored: the schema in the file.
        expected: the schema of `curator.io.schemas` that the file should have.
        url: the file, for messages.
        error: see `read_table`.

    Raises:
        CuratorError: of the class `error`: the file is of another kind or version.
    """
    labels, kind = stored.metadata or {}, expected.metadata[b"curator.format"]
    if labels.get(b"curator.format") != kind:
        raise error(f"{url} is not a '{kind.decode()}' file that curator wrote")
    version = labels.get(b"curator.version")
    if version != expected.metadata[b"curator.version"]:
        raise error(
            f"{url} has format version {(version or b'?').decode()}, this curator reads {FORMAT_VERSION}",
            advice=("use the curator that wrote it", Another("out")),
        )
