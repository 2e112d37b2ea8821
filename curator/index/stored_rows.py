"""Rows of a stored `.npy` file: mapped where it is local, read by ranges elsewhere."""

from __future__ import annotations

import io
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from curator.io import storage

__all__ = ["RemoteRows", "open_rows"]

HEAD = 4096
"""Bytes that hold the header of any array of ours."""


class RemoteRows:
    """A stored array of which slices of rows are read, each by one request.

    Attributes:
        shape: of the array.
        dtype: of its elements.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._state = storage.stat(url)
        head = io.BytesIO(storage.read_range(url, 0, min(HEAD, self._state.size), self._state))
        np.lib.format.read_magic(head)
        self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(head)
        self._start = head.tell()
        self._row_bytes = prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        first, last, step = rows.indices(len(self))
        assert step == 1
        start, end = (self._start + row * self._row_bytes for row in (first, max(first, last)))
        data = storage.read_range(self._url, start, end, self._state) if end > start else b""
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


def open_rows(url: str) -> NDArray[Any]:
    """An array of format version 1.0 whose rows are read when they are sliced."""
    if storage.is_local(url):
        return cast("NDArray[Any]", np.load(storage.local_path(url), mmap_mode="r"))
    return cast("NDArray[Any]", RemoteRows(url))
