"""Single rows of stored parts, wherever they lie: vectors and hashes of some ids."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.io import npy, storage
from curator.store.part_reader import PartFiles
from curator.store.retried import each_retried, list_retried
from curator.types import parts_of, rows_of, split_id

__all__ = ["RowReader"]

OPEN_PARTS = 512
HASHED_PARTS = 256
# Bytes between two rows up to which one remote read takes both.
MAX_GAP = 16 << 10
MAX_READ = 4 << 20


class RowReader:
    """Reads single rows of a store's finished parts; remembers the parts it has opened.

    Memory: memory maps of 512 parts, hashes of 256. A part that cannot be read, tried twice, is a `CuratorError`.

    Args:
        store: the store; its parts do not change meanwhile.
    """

    def __init__(self, store: PartFiles) -> None:
        self._store = store
        self._local = storage.is_local(store.url)
        self._vectors = lru_cache(OPEN_PARTS)(store.vectors)
        self._layout = lru_cache(None)(self._read_layout)
        self._hash_column = lru_cache(HASHED_PARTS)(self._read_hashes)

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float16]:
        """The vectors of some ids, float16 (n, dim), in the order given.

        Cost: a row of a memory map each, or where the store is remote a range request for each run of rows that
        lie close, 32 at once.
        """
        ids = np.asarray(ids, np.int64)
        parts = np.unique(parts_of(ids)).tolist() or [min(self._store.finished())]
        if not self._local:
            return self._remote(ids, self._layout(parts[0]).shape[1])
        part_of = parts_of(ids)

        # Copies, since an open memory map holds a file open.
        def read(part: int) -> NDArray[np.float16]:
            return self._vectors(part)[rows_of(ids[part_of == part])]

        blocks = dict(each_retried(parts, read, self._store.url))
        vectors = np.empty((len(ids), blocks[parts[0]].shape[1]), np.float16)
        for part, block in blocks.items():
            vectors[part_of == part] = block
        return vectors

    def hashes(self, ids: NDArray[np.int64]) -> list[str | None]:
        """The sha256 of some ids' images; None where ready embeddings brought none."""
        rows_in: dict[int, list[int]] = {}
        for part, row in (places := [split_id(sample_id) for sample_id in np.asarray(ids).tolist()]):
            rows_in.setdefault(part, []).append(row)

        def read(part: int) -> dict[int, str | None]:
            column = self._hash_column(part)
            return {row: column[row].as_py() for row in rows_in[part]}

        hashes = dict(each_retried(rows_in, read, self._store.url))
        return [hashes[part][row] for part, row in places]

    def _remote(self, ids: NDArray[np.int64], dim: int) -> NDArray[np.float16]:
        distinct, places = np.unique(ids, return_inverse=True)
        runs, url = _runs(distinct, 2 * dim), self._store.url
        rows = list_retried(runs, self._read_run, lambda run: split_id(int(run[0]))[0], url, storage.REMOTE_THREADS)
        return np.concatenate([np.empty((0, dim), np.float16), *rows])[places]

    def _read_run(self, ids: NDArray[np.int64]) -> NDArray[np.float16]:
        """Ascending ids of one part, by one request."""
        part, rows = split_id(int(ids[0]))[0], rows_of(ids)
        layout = self._layout(part)
        first, last = int(rows[0]), int(rows[-1])
        url, start = self._store.array_url(part), layout.start
        data = storage.read_range(url, start + first * layout.row_bytes, start + (last + 1) * layout.row_bytes)
        vectors: NDArray[np.float16] = np.frombuffer(data, layout.dtype).reshape(-1, layout.shape[1])[rows - first]
        return vectors

    def _read_layout(self, part: int) -> npy.Header:
        return npy.read_header(self._store.array_url(part))

    def _read_hashes(self, part: int) -> pa.Array:
        return self._store.metadata(part, ["sha256"])["sha256"].combine_chunks()


def _runs(ids: NDArray[np.int64], row_bytes: int) -> list[NDArray[np.int64]]:
    """Ascending ids cut where the next is of another part or far away, and into reads of bounded size."""
    if not len(ids):
        return []
    apart = np.diff(ids) > MAX_GAP // row_bytes + 1
    blocks = rows_of(ids) * row_bytes // MAX_READ
    return np.split(ids, np.flatnonzero(apart | (np.diff(blocks) != 0)) + 1)
