"""Ready embeddings, read from front to back in blocks of bounded size: vectors and what describes them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.errors import CuratorError
from curator.io import FileHash, Stat, npy, parquet, schemas, storage
from curator.store.done_mark import DoneMark

__all__ = ["ReadyBlocks", "open_ready"]

BLOCK_BYTES = 4 << 20
# Vectors of few bytes each: a block of as many rows as a row group has.
MOST_ROWS = parquet.ROW_GROUP
CHUNK = 1 << 20


class ReadyBlocks:
    """Vectors and metadata of ready embeddings, block after block, once.

    Attributes:
        rows: of the array.
        dim: columns.
        made: the done-mark of what another run stored; None for another tool's embeddings, whose metadata are given
            with the column `image_path` alone.
    """

    def __init__(
        self, url: str, stream: BinaryIO, file: pq.ParquetFile, made: DoneMark | None, states: Mapping[str, Stat]
    ) -> None:
        self.made = made
        self._url, self._stream, self._file, self._states = url, stream, file, states
        self._digest, self._size = hashlib.sha256(), 0
        header = npy.read_header(url)
        self.rows, self.dim = header.shape
        self._dtype, self._row_bytes = header.dtype, header.row_bytes
        self._read(header.start)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], pa.Table]]:
        rows = min(max(1, BLOCK_BYTES // max(1, self._row_bytes)), MOST_ROWS)
        columns = ["image_path"] if self.made is None else schemas.METADATA.names
        for batch in self._file.iter_batches(rows, columns=columns, use_threads=False):
            data = self._read(len(batch) * self._row_bytes)
            yield np.frombuffer(data, self._dtype).reshape(-1, self.dim), pa.Table.from_batches([batch])

    def check_end(self) -> None:
        """Compare what was read with what the files were, before anything of it counts.

        Raises:
            CuratorError: the array is not what its run wrote.
            ChangedError: a file changed meanwhile.
        """
        for url, state in self._states.items():
            storage.check_unchanged(url, state)
        while data := self._stream.read(CHUNK):
            self._add(data)
        if self.made is not None:
            _check_made(self._url, FileHash(self._size, self._digest.hexdigest()), self.made.array)

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise CuratorError(
                f"{self._url} is not a whole npy array: it ends after {self._size + len(data)} bytes",
                advice="write it anew",
            )
        self._add(data)
        return data

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self.made is not None:
            self._digest.update(data)


@contextmanager
def open_ready(
    url: str, metadata: str, made: DoneMark | None, states: tuple[Stat, Stat] | None
) -> Iterator[ReadyBlocks]:
    """Open an array and the metadata beside it.

    Args:
        url: the array.
        metadata: its metadata.
        made: see `ReadyBlocks`; the files must be those that it speaks of.
        states: of array and metadata, which must not change before the end; None where `made` tells.

    Raises:
        CuratorError: the files changed, do not fit together, or are not what their run wrote.
    """
    known = dict(zip((url, metadata), states, strict=True)) if states else {}
    try:
        with (
            _local(metadata, known.get(metadata)) as path,
            pq.ParquetFile(path, pre_buffer=False, buffer_size=CHUNK) as file,
            storage.open_stream(url, known.get(url)) as stream,
        ):
            if made is not None:
                _check_made(metadata, FileHash.of(path), made.metadata)
                parquet.check_format(file.schema_arrow, schemas.METADATA, metadata)
            ready = ReadyBlocks(url, stream, file, made, known)
            if ready.rows != file.metadata.num_rows:
                raise CuratorError(
                    f"{url} has {ready.rows} rows and {metadata} {file.metadata.num_rows}: they do not fit together"
                )
            yield ready
    except storage.ChangedError as error:
        raise CuratorError(f"{url} or its metadata changed since the run began", advice="run again") from error


@contextmanager
def _local(url: str, state: Stat | None) -> Iterator[Path]:
    """A local file with the content of `url`: parquet is read by its end first, and then by columns."""
    if storage.is_local(url):
        yield storage.local_path(url)
        return
    with storage.scratch_folder() as folder:
        path = folder / "metadata.parquet"
        with storage.open_stream(url, state) as stream, open(path, "wb") as file:
            shutil.copyfileobj(stream, file, CHUNK)
        yield path


def _check_made(url: str, found: FileHash, made: FileHash | None) -> None:
    if found != made:
        raise CuratorError(f"{url} is not what its run wrote", advice="run that run's own command again first")
