"""Parquet files: each is written whole with a schema of `curator.io.schemas`; any other file is refused."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import InputError
from curator.io import storage
from curator.io.schemas import FORMAT_VERSION

__all__ = ["check_format", "read_table", "write_table"]


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
