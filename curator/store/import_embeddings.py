"""Ready embeddings become a part: another tool's arrays, or another run's parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.errors import CuratorError, InputError, Reason
from curator.float16 import few_at_a_time, narrow, widen
from curator.io import npy, run_ahead, schemas, storage
from curator.sources import Source, pair_state
from curator.store.done_mark import DoneMark
from curator.store.ledger_lines import Ledger
from curator.store.part_store import PartStore
from curator.store.ready_blocks import ReadyBlocks, open_ready
from curator.types import LedgerLine, unit_rows

__all__ = ["check_ready", "import_part", "ready_shape"]

# Blocks that wait to be written.
AHEAD = 1


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

    Of what another run stored the header of the array alone is read: it was checked when it was made.

    Returns:
        rows and columns of the array.

    Raises:
        InputError: it is not a two-dimensional fp16 or fp32 array, or was cut; the metadata are no parquet file,
            have no column `image_path`, or another number of rows.
    """
    header = _read_header(source)
    rows, dim = header.shape
    if source.mark:
        return rows, dim
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

    Reading and dividing take as long as writing, and go on beside it in a thread of their own.

    Memory: some blocks of 4 MiB and a row group of the metadata, however large the files are; of remote metadata, a
    copy below TMPDIR.

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
    with _opened(source) as ready:
        left_out = Ledger()
        blocks = _sound_blocks(source, ready, part, min_side, left_out)

        def finish(rows: int) -> DoneMark:
            ready.check_end()
            seconds = {"total": time.perf_counter() - started}
            if ready.made is None:
                return DoneMark(ready.rows, rows, ready.dim, seconds, left_out.ordered())
            # What the other run left out is left out here, and so it is told here too.
            made = ready.made
            ledger = Ledger(chain(made.ledger, left_out)).ordered()
            return DoneMark(made.seen, rows, ready.dim, seconds, ledger, made.remarks)

        with closing(run_ahead(blocks, AHEAD)) as read:
            return store.write_blocks(part, identity, (ready.rows, ready.dim), read, finish)


def _opened(source: Source) -> AbstractContextManager[ReadyBlocks]:
    # What a run stored has hashes; of other files the state says which they are.
    if source.mark:
        return open_ready(source.url, source.metadata, DoneMark.read(source.mark), None)
    states = storage.stat(source.url), storage.stat(source.metadata)
    if pair_state(*states) != source.read_stat:
        raise CuratorError(f"{source.name} or its metadata changed since the run began", advice="run again")
    return open_ready(source.url, source.metadata, None, states)


def _sound_blocks(
    source: Source, ready: ReadyBlocks, part: int, min_side: int, left_out: Ledger
) -> Iterator[tuple[NDArray[np.float16], pa.Table]]:
    """The rows to store, some at a time; a line of each other one is added to `left_out`."""
    first = index = 0
    for vectors, stored in ready:
        if ready.made is not None:
            # Another run's vectors are stored as they should be; dividing again would move their last bits.
            table, unit, good = stored, vectors, _large_enough(stored, min_side)
            lines = [_too_small(row, min_side) for row in table.filter(pa.array(~good)).to_pylist()]
        else:
            table = _as_metadata(source, stored)
            unit, good = _unit_rows(vectors)
            lines = [_unusable_row(source, table, first, int(row)) for row in np.flatnonzero(~good)]
        for line in lines:
            left_out.append(line)
        first += len(vectors)
        table = table.filter(pa.array(good))
        yield unit[good], _numbered(table, part, index)
        index += table.num_rows


def _unit_rows(vectors: NDArray[Any]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """The rows at unit length, and which of them have a length that is neither zero nor infinite."""
    unit, good = np.empty(vectors.shape, np.float16), np.empty(len(vectors), bool)
    for some in few_at_a_time(vectors):
        exact, good[some] = unit_rows(widen(vectors[some]))
        unit[some] = narrow(exact.astype(np.float32))
    return unit, good


def _as_metadata(source: Source, foreign: pa.Table) -> pa.Table:
    columns: dict[str, Any] = {field.name: pa.nulls(len(foreign), field.type) for field in schemas.METADATA}
    columns["image_path"] = foreign["image_path"].cast(pa.string())
    columns["shard"] = pa.array([source.name] * len(foreign), pa.string())
    return pa.table([columns[field.name] for field in schemas.METADATA], schema=schemas.METADATA)


def _numbered(table: pa.Table, part: int, first: int) -> pa.Table:
    """The same rows under the part's number, counted from `first`."""
    rows = np.arange(first, first + len(table), dtype=np.int32)
    for name, values in (("part", np.full(len(table), part, np.int32)), ("index", rows)):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(values))
    return table


def _large_enough(table: pa.Table, min_side: int) -> NDArray[np.bool_]:
    shorter = pc.min_element_wise(table["width"], table["height"])
    # Of another tool's embeddings no size is known; `min_side` is refused for them.
    return np.asarray(pc.fill_null(pc.greater_equal(shorter, min_side), True))


def _too_small(row: dict[str, Any], min_side: int) -> LedgerLine:
    detail = f"{row['width']} x {row['height']}: the shorter side is below {min_side}"
    return LedgerLine(row["shard"], row["image_path"], row["offset"], "decode", Reason.TOO_SMALL, detail)


def _unusable_row(source: Source, table: pa.Table, first: int, row: int) -> LedgerLine:
    """Of a row of a block whose first row is the row `first` of the array."""
    detail = f"row {first + row} of the array is not finite, or of zero length"
    key = table["image_path"][row].as_py() or ""
    return LedgerLine(source.name, key, first + row, "read", Reason.BAD_EMBEDDING, detail)
