"""Parquet files, each written whole with a schema of `curator.io.schemas`. Files of another kind are refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curator.errors import Another, CuratorError, UnusableInput
from curator.io import storage
from curator.io.schemas import FORMAT_VERSION

__all__ = ["check_format", "read_table", "save_table", "write_table"]


def write_table(url: str, schema: pa.Schema, columns: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write one parquet file, whole, from columns (name -> values) or from rows.

    The same values give the same bytes, on the same pyarrow.
    """
    with storage.write_file(url) as path:
        save_table(path, schema, columns)


def save_table(path: Path, schema: pa.Schema, columns: dict[str, Any] | list[dict[str, Any]]) -> None:
    """The same to a local path that is not the final one: see `storage.write_file`."""
    if isinstance(columns, dict):
        table = pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
    else:
        table = pa.Table.from_pylist(columns, schema=schema)
    pq.write_table(table, path, compression="zstd")


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
        raise error(f"{url} is not a parquet file that curator wrote: {reason}") from reason


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
