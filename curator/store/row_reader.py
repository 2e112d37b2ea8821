"""Single rows of stored parts, wherever they lie: vectors and hashes of some ids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pyarrow as pa

from curator.io import npy, storage
from curator.store.part_store import PartStore

__all__ = ["RowReader"]

OPEN_PARTS = 512
HASHED_PARTS = 256
MAX_GAP = 16 << 10
"""Bytes between two rows up to which one remote read takes both."""
MAX_READ = 4 << 20


class RowReader:
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

        Cost: a row of a memory map each, or where the store is remote a range request for each run of rows that
        lie close, 32 at once.
        """
        ids = np.asarray(ids, np.int64)
        parts = np.unique(ids >> 32).tolist() or [min(self._store.finished())]
        if not self._local:
            return self._remote(ids, self._layout(parts[0]).shape[1])
        found = np.empty((len(ids), self._vectors(parts[0]).shape[1]), np.float16)
        for part in parts:
            mine = np.flatnonzero(ids >> 32 == part)
            found[mine] = self._vectors(part)[ids[mine] & 0xFFFFFFFF]
        return found

    def hashes(self, ids: np.ndarray) -> list[str | None]:
        """The sha256 of some ids' images; None where ready embeddings brought none."""
        return [self._hash_column(row >> 32)[row & 0xFFFFFFFF].as_py() for row in np.asarray(ids).tolist()]

    def _remote(self, ids: np.ndarray, dim: int) -> np.ndarray:
        distinct, places = np.unique(ids, return_inverse=True)
        with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
            rows = list(threads.map(self._read_run, _runs(distinct, 2 * dim)))
        return np.concatenate([np.empty((0, dim), np.float16), *rows])[places]

    def _read_run(self, ids: np.ndarray) -> np.ndarray:
        """Ascending ids of one part, by one request."""
        part, rows = int(ids[0]) >> 32, ids & 0xFFFFFFFF
        layout = self._layout(part)
        first, last = int(rows[0]), int(rows[-1])
        url, start = self._store.array_url(part), layout.start
        data = storage.read_range(url, start + first * layout.row_bytes, start + (last + 1) * layout.row_bytes)
        found: np.ndarray = np.frombuffer(data, layout.dtype).reshape(-1, layout.shape[1])[rows - first]
        return found

    def _read_layout(self, part: int) -> npy.Header:
        return npy.read_header(self._store.array_url(part))

    def _read_hashes(self, part: int) -> pa.Array:
        return self._store.metadata(part, ["sha256"])["sha256"].combine_chunks()


def _runs(ids: np.ndarray, row_bytes: int) -> list[np.ndarray]:
    """Ascending ids cut where the next is of another part or far away, and into reads of bounded size."""
    if not len(ids):
        return []
    apart = np.diff(ids) > MAX_GAP // row_bytes + 1
    blocks = (ids & 0xFFFFFFFF) * row_bytes // MAX_READ
    return np.split(ids, np.flatnonzero(apart | (np.diff(blocks) != 0)) + 1)
