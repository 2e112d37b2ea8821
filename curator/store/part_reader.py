"""What is read of stored parts, wherever the knowledge comes from which of them there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.io import Stat, npy, parquet, schemas, storage
from curator.types import part_ids, parts_of, rows_of

__all__ = ["Part", "PartReader", "register_columns", "register_rows"]

# Each holds a whole part's metadata for a moment.
ROW_THREADS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A row of `parts.parquet`.

    Attributes:
        part: its number.
        url: the public name of its source.
        stat: the state of its source.
        kind: see `Source.stored_kind`.
    """

    part: int
    url: str
    stat: Stat
    kind: str


class PartReader(ABC):
    """Reads the parts below one URL (`OUT/target`, `OUT/pool` or `OUT/exclude`).

    Attributes:
        url: where the parts are.
    """

    url: str

    @abstractmethod
    def registered(self) -> list[Part]:
        """All parts, numbered from 0 in first-seen order; empty if there are none yet."""

    @abstractmethod
    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of every finished part."""

    @abstractmethod
    def lengths(self) -> dict[int, int]:
        """Part number -> embedded samples of every finished part, as its done-mark says."""

    def count(self) -> int:
        """Number of embedded samples in finished parts."""
        return sum(self.lengths().values())

    def array_url(self, part: int) -> str:
        """Where a part's vectors are."""
        return storage.join(self.url, "img_emb", f"img_emb_{part:08d}.npy")

    def metadata_url(self, part: int) -> str:
        """Where a part's metadata is."""
        return storage.join(self.url, "metadata", f"metadata_{part:08d}.parquet")

    def vectors(self, part: int) -> NDArray[np.float16]:
        """The (n, dim) float16 array of a part; a memory map where it is local."""
        url = self.array_url(part)
        return npy.open_rows(url) if storage.is_local(url) else npy.read_array(url)

    def metadata(self, part: int, columns: list[str] | None = None) -> pa.Table:
        """The metadata of a part, row i describing vector i."""
        return parquet.read_table(self.metadata_url(part), schemas.METADATA, columns)

    def parts(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """Every finished part's number and vectors, by number: what the selection streams over."""
        for part in sorted(self.finished()):
            yield part, self.vectors(part)

    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows of the finished parts, int64 (n,), in the order of `parts`."""
        parts = [part_ids(part, rows) for part, rows in sorted(self.lengths().items())]
        return np.concatenate([np.empty(0, np.int64), *parts])

    def rows(self, ids: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """The metadata rows of some ids, in the order given, with `id` as first column.

        Reads the metadata of each part that holds one of them once, a few parts side by side.
        """
        ids = np.asarray(ids, dtype=np.int64)
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        parts, starts = np.unique(parts_of(ordered), return_index=True)
        rows_by_part = np.split(rows_of(ordered), starts[1:])

        def read(part: int, rows: NDArray[np.int64]) -> pa.Table:
            return self.metadata(part, columns).take(pa.array(rows))

        with ThreadPoolExecutor(ROW_THREADS) as threads:
            tables = list(threads.map(read, parts.tolist(), rows_by_part)) if len(ids) else []
        if not tables:
            empty = schemas.METADATA.empty_table().select(columns)
            return empty.add_column(0, "id", pa.array([], pa.int64()))
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        table = pa.concat_tables(tables).take(pa.array(inverse))
        return table.add_column(0, "id", pa.array(ids))


def register_columns(parts: list[Part]) -> dict[str, list[Any]]:
    """The columns of `parts.parquet`."""
    return {
        "part": [part.part for part in parts],
        "url": [part.url for part in parts],
        "size": [part.stat.size for part in parts],
        "version": [part.stat.version for part in parts],
        "kind": [part.kind for part in parts],
    }


def register_rows(table: pa.Table) -> tuple[Part, ...]:
    """The parts that a `parts.parquet` lists."""
    return tuple(
        Part(row["part"], row["url"], Stat(row["size"], row["version"]), row["kind"]) for row in table.to_pylist()
    )
