"""Arrays in `.npy` files (numpy.lib.format, version 1.0): written whole, read whole, mapped, or by ranges of rows."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from curator.errors import CuratorError
from curator.io import storage
from curator.io.part_files import FileHash

__all__ = [
    "Header",
    "RemoteRows",
    "RowWriter",
    "open_rows",
    "parse_array",
    "read_array",
    "read_header",
    "save_array",
    "write_array",
]

# Bytes that hold the header of any array with few dimensions.
HEAD = 4096


@dataclass(frozen=True, slots=True)
class Header:
    """What the head of a file says about its array.

    Attributes:
        shape: the shape of the array.
        dtype: the type of its elements.
        fortran: True where columns come first.
        start: the byte at which the data begins.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def file_bytes(self) -> int:
        """Bytes that the whole file must have."""
        return self.start + prod(self.shape) * self.dtype.itemsize


def write_array(url: str, array: NDArray[Any]) -> None:
    """Write a whole array. The same array gives the same bytes."""
    with storage.write_file(url) as path:
        save_array(path, array)


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array to a local path that is not the final one: see `storage.write_file`."""
    with open(path, "wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0))


class RowWriter:
    """Writes an array to a local path row by row; the file is the one that `save_array` would write.

    Args:
        path: not the final one: see `storage.write_file`.
        dim: columns.
        dtype: of the elements.
        expected: rows that will probably come, if that is known. If they do, the file is not read again to be hashed.

    Attributes:
        count: rows written so far.
    """

    def __init__(self, path: Path, dim: int, dtype: Any, expected: int | None = None) -> None:
        self.count = self._size = 0
        self._path, self._dim, self._dtype, self._expected = path, dim, np.dtype(dtype), expected
        self._file = open(path, "wb")  # noqa: SIM115
        self._digest = hashlib.sha256()
        self._add(self._header(expected or 0))

    def write(self, rows: NDArray[Any]) -> None:
        """Write rows (n, dim) behind those that are there."""
        self._add(np.ascontiguousarray(rows, self._dtype).data)
        self.count += len(rows)

    def close(self) -> None:
        """Note the number of rows in the header. It may be called again."""
        if not self._file.closed:
            self._size = self._file.tell()
            if self.count != (self._expected or 0):
                self._file.seek(0)
                self._file.write(self._header(self.count))
            self._file.close()

    def file_hash(self) -> FileHash:
        """Of the closed file."""
        if self.count != self._expected:
            return FileHash.of(self._path)
        return FileHash(self._size, self._digest.hexdigest())

    def _add(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        if self._expected is not None:
            self._digest.update(data)

    def _header(self, rows: int) -> bytes:
        # numpy keeps room in a header for the largest number of rows, so it always has the same length.
        described = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (rows, self._dim),
        }
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, described)
        return header.getvalue()


def read_array(url: str) -> NDArray[Any]:
    """Read an array into memory.

    Raises:
        FileNotFoundError: there is no such file.
        CuratorError: the file is not a whole array.
    """
    return parse_array(storage.read_bytes(url), url)


def parse_array(data: bytes, url: str) -> NDArray[Any]:
    """The array of a file that was read.

    Raises:
        CuratorError: the file is not a whole array.
    """
    try:
        return cast("NDArray[Any]", np.load(io.BytesIO(data), allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise CuratorError(f"{url} is not a whole npy array: {error}", advice="remove it and run again") from error


def read_header(url: str, state: storage.Stat | None = None) -> Header:
    """Read what the head of a file says, in one small read.

    Raises:
        ValueError: the file is not an npy array.
    """
    stream = io.BytesIO(storage.read_range(url, 0, HEAD if state is None else min(HEAD, state.size), state))
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return Header(tuple(map(int, shape)), dtype, fortran, stream.tell())


class RemoteRows:
    """A stored array whose rows are read when they are sliced, by one request for each slice.

    Attributes:
        shape: the shape of the array.
        dtype: the type of its elements.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._state = storage.stat(url)
        self._header = read_header(url, self._state)
        self.shape, self.dtype = self._header.shape, self._header.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        first, last, step = rows.indices(len(self))
        assert step == 1
        start, end = (self._header.start + row * self._header.row_bytes for row in (first, max(first, last)))
        data = storage.read_range(self._url, start, end, self._state) if end > start else b""
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


def open_rows(url: str) -> NDArray[Any]:
    """Open an array whose rows are read when they are sliced. A local file becomes a memory map.

    Raises:
        FileNotFoundError: there is no such local file.
        CuratorError: the local file is not a whole array.
    """
    if not storage.is_local(url):
        return cast("NDArray[Any]", RemoteRows(url))
    try:
        return cast("NDArray[Any]", np.load(storage.local_path(url), mmap_mode="r", allow_pickle=False))
    except ValueError as error:
        raise CuratorError(f"{url} is damaged: {error}", advice="remove it and run again") from error
