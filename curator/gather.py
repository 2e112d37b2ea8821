"""Single rows of stored parts, wherever they lie: vectors and hashes of some ids."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curator import storage
from curator.parts import PartStore

__all__ = ["Gather"]

OPEN_PARTS = 512
HASHED_PARTS = 256
HEADER_BYTES = 256


class _Layout(NamedTuple):
    """Where the rows of a remote array lie."""

    start: int
    dim: int
    dtype: np.dtype[np.float16]


class Gather:
    """Reads single rows of a store's finished parts; remembers the parts it has opened.

    Memory: memory maps of 512 parts, hashes of 256.

    Args:
        store: its parts do not change meanwhile.
    """

    def __init__(self, store: PartStore) -> None:
        self._store = store
        self._local = storage.is_local(store.url)
        self._vectors = lru_cache(OPEN_PARTS)(store.vectors)
        self._layout = lru_cache(None)(self._read_layout)
        self._hash_column = lru_cache(HASHED_PARTS)(self._read_hashes)

    def vectors(self, ids: np.ndarray) -> np.ndarray:
        """The vectors of some ids, float16 (n, dim), in the order given.

        Cost: a row of a memory map each, or where the store is remote a range request, 32 at once.
        """
        ids = np.asarray(ids, np.int64)
        parts = np.unique(ids >> 32).tolist() or [min(self._store.finished())]
        if not self._local:
            return self._remote(ids, self._layout(parts[0]).dim)
        found = np.empty((len(ids), self._vectors(parts[0]).shape[1]), np.float16)
        for part in parts:
            mine = np.flatnonzero(ids >> 32 == part)
            found[mine] = self._vectors(part)[ids[mine] & 0xFFFFFFFF]
        return found

    def hashes(self, ids: np.ndarray) -> list[str | None]:
        """The sha256 of some ids' images; None where ready embeddings brought none."""
        return [self._hash_column(row >> 32)[row & 0xFFFFFFFF].as_py() for row in np.asarray(ids).tolist()]

    def _remote(self, ids: np.ndarray, dim: int) -> np.ndarray:
        def read(row: int) -> np.ndarray:
            layout = self._layout(row >> 32)
            size = layout.dim * layout.dtype.itemsize
            start = layout.start + (row & 0xFFFFFFFF) * size
            data = storage.read_range(self._store.array_url(row >> 32), start, start + size)
            return np.frombuffer(data, layout.dtype)

        with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
            rows = list(threads.map(read, ids.tolist()))
        return np.stack(rows) if rows else np.empty((0, dim), np.float16)

    def _read_layout(self, part: int) -> _Layout:
        stream = io.BytesIO(storage.read_range(self._store.array_url(part), 0, HEADER_BYTES))
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        return _Layout(stream.tell(), shape[1], dtype)

    def _read_hashes(self, part: int) -> pa.Array:
        return self._store.metadata(part, ["sha256"])["sha256"].combine_chunks()
