"""Single rows of stored parts, wherever they lie: vectors and hashes of some ids."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.io import npy, parquet, schemas, storage
from curator.store.part_reader import PartFiles
from curator.store.retried import each_retried, list_retried
from curator.types import parts_of, rows_of, split_id

__all__ = ["RowReader"]

OPEN_PARTS = 512
# Hashes that are remembered; of a single row group more.
HASH_BYTES = 64 << 20
# Bytes between two rows up to which one remote read takes both.
MAX_GAP = 16 << 10
MAX_READ = 4 << 20


class RowReader:
    """Reads single rows of a store's finished parts; remembers the parts it has opened.

    Memory: memory maps of 512 parts, and 64 MiB of hashes. A part that cannot be read, tried twice, is a
    `CuratorError`.

    Args:
        store: the store; its parts do not change meanwhile.
    """

    def __init__(self, store: PartFiles) -> None:
        self._store = store
        self._vectors = lru_cache(OPEN_PARTS)(store.vectors)
        self._layout = lru_cache(None)(self._read_layout)
        self._footer = lru_cache(OPEN_PARTS)(self._read_footer)
        self._hashes: dict[tuple[int, int], pa.Array] = {}

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float16]:
        """The vectors of some ids, float16 (n, dim), in the order given.

        Cost: a row of a memory map each, or where the part is remote a range request for each run of rows that
        lie close, 32 at once.
        """
        ids = np.asarray(ids, np.int64)
        part_of = parts_of(ids)
        parts = np.unique(part_of).tolist() or [min(self._store.finished())]
        local = [part for part in parts if self._is_local(part)]

        # Copies, since an open memory map holds a file open.
        def read(part: int) -> NDArray[np.float16]:
            return self._vectors(part)[rows_of(ids[part_of == part])]

        blocks = dict(each_retried(local, read, self._store.url))
        dim = blocks[local[0]].shape[1] if local else self._layout(parts[0]).shape[1]
        vectors = np.empty((len(ids), dim), np.float16)
        for part, block in blocks.items():
            vectors[part_of == part] = block
        if len(local) < len(parts):
            remote = ~np.isin(part_of, local)
            vectors[remote] = self._remote(ids[remote], dim)
        return vectors

    def hashes(self, ids: NDArray[np.int64]) -> list[str | None]:
        """The sha256 of some ids' images; None where ready embeddings brought none.

        Cost: the row groups of the metadata that hold one of them, those of late lookups aside.
        """
        ids = np.asarray(ids, np.int64)
        part_of, hashes = parts_of(ids), np.empty(len(ids), object)

        def read(part: int) -> None:
            places = np.flatnonzero(part_of == part)
            rows = rows_of(ids[places])
            groups = np.searchsorted(self._group_ends(part), rows, side="right")
            for group in np.unique(groups).tolist():
                own = groups == group
                first = int(self._group_ends(part)[group - 1]) if group else 0
                hashes[places[own]] = self._hashes_of(part, group).take(pa.array(rows[own] - first)).to_pylist()

        for _ in each_retried(np.unique(part_of).tolist(), read, self._store.url):
            pass
        return list(hashes)

    def _is_local(self, part: int) -> bool:
        place = self._store.place_of(part)
        return storage.is_local(place.store if place else self._store.url)

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

    def _read_footer(self, part: int) -> pq.FileMetaData:
        return parquet.read_footer(self._store.metadata_url(part), schemas.METADATA)

    def _group_ends(self, part: int) -> NDArray[np.int64]:
        """How many rows of a part's metadata stand up to the end of each row group, int64 (groups,)."""
        footer = self._footer(part)
        return np.cumsum([footer.row_group(group).num_rows for group in range(footer.num_row_groups)])

    def _hashes_of(self, part: int, group: int) -> pa.Array:
        """The hashes of one row group; the oldest that are remembered are forgotten where they get many."""
        held = self._hashes.pop((part, group), None)
        if held is None:
            table = parquet.read_group(self._store.metadata_url(part), self._footer(part), group, ["sha256"])
            held = table["sha256"].combine_chunks()
        self._hashes[part, group] = held
        while len(self._hashes) > 1 and sum(column.nbytes for column in self._hashes.values()) > HASH_BYTES:
            self._hashes.pop(next(iter(self._hashes)))
        return held


def _runs(ids: NDArray[np.int64], row_bytes: int) -> list[NDArray[np.int64]]:
    """Ascending ids cut where the next is of another part or far away, and into reads of bounded size."""
    if not len(ids):
        return []
    apart = np.diff(ids) > MAX_GAP // row_bytes + 1
    blocks = rows_of(ids) * row_bytes // MAX_READ
    return np.split(ids, np.flatnonzero(apart | (np.diff(blocks) != 0)) + 1)
