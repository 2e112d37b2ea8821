"""Ready embeddings become a part: another tool's arrays, or another run's parts."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.errors import CuratorError, InputError, Reason
from curator.io import FileHash, npy, parquet, schemas, storage
from curator.sources import Remarks, Source, pair_state
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore
from curator.types import LedgerLine

__all__ = ["check_ready", "import_part", "ready_shape"]


def _read_header(source: Source) -> npy.Header:
    try:
        header = npy.read_header(source.url)
    except FileNotFoundError as error:
        raise InputError(f"{source.url} is missing", advice="run the command that made it again first") from error
    except ValueError as error:
        raise InputError(f"{source.url} is no npy array ({' '.join(str(error).split())}): write it anew") from error
    if len(header.shape) != 2 or header.fortran or header.dtype not in (np.float16, np.float32):
        order = " in Fortran order" if header.fortran else ""
        raise InputError(
            f"{source.url} holds {header.dtype} {header.shape}{order}; needed are fp16 or fp32 rows (n, dim), C order",
            advice="write it anew by numpy.save(FILE, numpy.ascontiguousarray(ROWS, 'float32'))",
        )
    return header


def ready_shape(source: Source) -> tuple[int, int]:
    """Rows and columns of a ready array, from its header alone.

    Raises:
        InputError: it is not a two-dimensional fp16 or fp32 array.
    """
    rows, dim = _read_header(source).shape
    return rows, dim


def check_ready(source: Source) -> tuple[int, int]:
    """Check another tool's array and metadata as far as it goes without reading them.

    Of another run's part the header of the array alone is read: it was checked when it was made.

    Returns:
        rows and columns of the array.

    Raises:
        InputError: it is not a two-dimensional fp16 or fp32 array, or was cut; the metadata are no parquet file,
            have no column `image_path`, or another number of rows.
    """
    header = _read_header(source)
    rows, dim = header.shape
    if source.kind == "part":
        return rows, dim
    # Not source.stat: of another run's part, that is the state of what it was made from.
    if (size := storage.stat(source.url).size) < header.file_bytes:
        raise InputError(f"{source.url} is cut: it has {size} bytes of {header.file_bytes}; write it anew")
    try:
        with storage.open_stream(source.metadata) as stream, pq.ParquetFile(stream) as file:
            names, described = file.schema_arrow.names, file.metadata.num_rows
    except pa.ArrowException as error:
        raise InputError(f"{source.metadata} is no parquet file ({' '.join(str(error).split())})") from error
    if "image_path" not in names:
        raise InputError(f"{source.metadata} has no column image_path (it has {', '.join(names)})")
    if rows != described:
        raise InputError(f"{source.url} has {rows} rows and {source.metadata} {described}: they do not fit together")
    return rows, dim


def import_part(source: Source, store: PartStore, part: int, identity: str, min_side: int = 0) -> DoneMark:
    """Store a ready array as a part of `store`, rows brought to unit length, float16.

    The metadata needs a column `image_path` (clip-retrieval's layout) in the array's row order. Of
    another run's part the places of the samples in their shards are kept, so it stays packable.

    Args:
        source: of kind `embeddings` or `part`.
        store: where the part goes.
        part: its number.
        identity: see `part_of`.
        min_side: images of another run's part with a shorter side than this many pixels go to the ledger, as if
            they were embedded here. The sizes of other images are not known.

    Raises:
        CuratorError: array and metadata do not fit together.
    """
    started = time.perf_counter()
    made = DoneMark.from_json(storage.read_bytes(source.mark), source.mark) if source.mark else None
    vectors, table = _read(source, part, made)
    if len(vectors) != table.num_rows:
        raise CuratorError(
            f"{source.url} has {len(vectors)} rows and {source.metadata} {table.num_rows}: they do not fit together"
        )
    # What the other run left out is left out here, and so it is told here too.
    ledger = list(made.ledger) if made else []
    seen = made.seen if made else len(vectors)
    if source.kind == "part":
        # Another run's vectors are stored as they should be; dividing again would move their last bits.
        unit, good = vectors, _large_enough(table, min_side)
        ledger += [_too_small(row, min_side) for row in table.filter(pa.array(~good)).to_pylist()]
    else:
        unit, good = _unit_rows(vectors)
        ledger += [_unusable_row(source, table, int(row)) for row in np.flatnonzero(~good)]
    table = table.filter(pa.array(good))
    table = table.set_column(3, table.schema.field("index"), pa.array(np.arange(table.num_rows, dtype=np.int32)))
    # By column, so that the file is the one that embedding the same samples would have written.
    columns = {name: table[name].combine_chunks() for name in schemas.METADATA.names}
    seconds = {"total": time.perf_counter() - started}
    ledger.sort(key=lambda line: (line.offset, line.key))
    mark = DoneMark(seen, int(good.sum()), vectors.shape[1], seconds, ledger, made.remarks if made else Remarks())
    return store.write(part, identity, unit[good], columns, mark)


def _read(source: Source, part: int, made: DoneMark | None) -> tuple[NDArray[Any], pa.Table]:
    array, metadata = storage.read_bytes(source.url), storage.read_bytes(source.metadata)
    if made is None:
        if pair_state(storage.stat(source.url), storage.stat(source.metadata)) != source.stat:
            raise CuratorError(f"{source.name} or its metadata changed since the run began", advice="run again")
    else:
        _check_made(source.url, array, made.array)
        _check_made(source.metadata, metadata, made.metadata)
    return npy.parse_array(array, source.url), _metadata(source, part, metadata)


def _check_made(url: str, data: bytes, made: FileHash | None) -> None:
    if FileHash.of_bytes(data) != made:
        raise CuratorError(f"{url} is not what its run wrote", advice="run that run's own command again first")


def _unit_rows(vectors: NDArray[Any]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    wide = vectors.astype(np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", wide, wide))
    good = np.isfinite(norms) & (norms > 0)
    return (wide / np.where(good, norms, 1.0)[:, None]).astype(np.float16), good


def _metadata(source: Source, part: int, data: bytes) -> pa.Table:
    if source.kind == "part":
        table = parquet.read_table(source.metadata, schemas.METADATA, data=data)
        number = pa.array(np.full(table.num_rows, part, np.int32))
        return table.set_column(2, table.schema.field("part"), number)
    foreign = pq.read_table(io.BytesIO(data))
    rows = foreign.num_rows
    columns: dict[str, pa.Array] = {field.name: pa.nulls(rows, field.type) for field in schemas.METADATA}
    columns["image_path"] = foreign["image_path"].cast(pa.string()).combine_chunks()
    columns["shard"] = pa.array([source.name] * rows, pa.string())
    columns["part"] = pa.array(np.full(rows, part, np.int32))
    columns["index"] = pa.array(np.arange(rows, dtype=np.int32))
    return pa.table([columns[field.name] for field in schemas.METADATA], schema=schemas.METADATA)


def _large_enough(table: pa.Table, min_side: int) -> NDArray[np.bool_]:
    shorter = pc.min_element_wise(table["width"], table["height"])
    return np.asarray(pc.greater_equal(shorter, min_side))


def _too_small(row: dict[str, Any], min_side: int) -> LedgerLine:
    detail = f"{row['width']} x {row['height']}: the shorter side is below {min_side}"
    return LedgerLine(row["shard"], row["image_path"], row["offset"], "decode", Reason.TOO_SMALL, detail)


def _unusable_row(source: Source, table: pa.Table, row: int) -> LedgerLine:
    detail = f"row {row} of the array is not finite, or of zero length"
    key = table["image_path"][row].as_py() or ""
    return LedgerLine(source.name, key, row, "read", Reason.BAD_EMBEDDING, detail)
