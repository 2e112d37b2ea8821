"""What is read of stored parts, wherever the knowledge comes from which of them there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.errors import CuratorError, UnusableInput
from curator.io import Stat, npy, parquet, part_files, schemas, storage
from curator.store.place import Place
from curator.store.retried import each_retried, list_retried
from curator.types import part_ids, parts_of, rows_of

__all__ = ["NamedParts", "Part", "PartFiles", "PartReader", "named", "register_columns", "register_rows"]

# Each holds a whole part's metadata for a moment.
ROW_THREADS = 8
# Rows whose texts fit into one Arrow string array, as long as no key has more than 2,000 bytes.
ROWS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A row of `parts.parquet`.

    Attributes:
        part: its number.
        url: the public name of its source.
        stat: the state of its source.
        kind: see `Source.stored_kind`.
        identity: see `identity_hash`; it is in the names of its files.
        min_side: images with a shorter side than this many pixels were left out of it.
        is_retired: its source is gone or changed: its number stays taken, its data is removed.
        is_kept: its source has another version and could not be read: its data stays, and counts for nothing until
            the source tells whether it still holds what it held.
        place: where its files are if another store holds them; None for a part of this store's own.
        read_url: where its source is read since it moved; empty for one that did not.
        read_version: the version that its source has there.
    """

    part: int
    url: str
    stat: Stat
    kind: str
    identity: str
    min_side: int = 0
    is_retired: bool = False
    is_kept: bool = False
    place: Place | None = None
    read_url: str = ""
    read_version: str = ""

    @property
    def source_url(self) -> str:
        """Where its source is read."""
        return self.read_url or self.url

    @property
    def source_stat(self) -> Stat:
        """The state that its source has there."""
        return Stat(self.stat.size, self.read_version) if self.read_url else self.stat


class PartFiles(ABC):
    """The files of finished parts below one URL, or below another where another store holds them.

    Attributes:
        url: where the parts are.
    """

    url: str

    @abstractmethod
    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of every finished part."""

    def identity_of(self, part: int) -> str:
        """The identity hash of a finished part.

        Raises:
            CuratorError: it is not finished.
        """
        return named(self.url, self.finished(), part)

    @abstractmethod
    def place_of(self, part: int) -> Place | None:
        """Where another store holds a part; None for a part of this one."""

    def array_url(self, part: int) -> str:
        """Where a part's vectors are."""
        return part_files.array_url(*self._file_name(part))

    def metadata_url(self, part: int) -> str:
        """Where a part's metadata is."""
        return part_files.metadata_url(*self._file_name(part))

    def _file_name(self, part: int) -> tuple[str, int, str]:
        """The store, the number and the identity that a part's files are found by."""
        place = self.place_of(part)
        store, number = (self.url, part) if place is None else (place.store, place.part)
        return store, number, self.identity_of(part)

    def vectors(self, part: int) -> NDArray[np.float16]:
        """The (n, dim) float16 array of a part; a memory map where it is local."""
        url = self.array_url(part)
        return npy.open_rows(url) if storage.is_local(url) else npy.read_array(url)

    def metadata(self, part: int, columns: list[str] | None = None) -> pa.Table:
        """The metadata of a part, row i describing vector i."""
        table = parquet.read_table(self.metadata_url(part), schemas.METADATA, columns)
        if self.place_of(part) is None or "part" not in table.column_names:
            return table
        # Written under the number that the part has in the other store.
        column = table.schema.get_field_index("part")
        own = pa.array(np.full(table.num_rows, part, np.int32))
        return table.set_column(column, table.schema.field(column), own)

    def rows(self, ids: NDArray[np.int64], columns: list[str]) -> pa.Table:
        """The metadata rows of some ids, in the order given, with `id` as first column.

        Reads the metadata of each part that holds one of them once, a few parts side by side. Of many ids the columns
        come in chunks: all their texts together may be more than the 2 GiB that one Arrow string array holds.

        Raises:
            CuratorError: a part cannot be read, tried twice.
        """
        ids = np.asarray(ids, dtype=np.int64)
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        parts, starts = np.unique(parts_of(ordered), return_index=True)
        rows_by_part = np.split(rows_of(ordered), starts[1:])

        def read(wanted: tuple[int, NDArray[np.int64]]) -> pa.Table:
            part, rows = wanted
            return large_strings(self.metadata(part, columns).take(pa.array(rows)))

        wanted = list(zip(parts.tolist(), rows_by_part, strict=False))
        tables = list_retried(wanted, read, lambda each: each[0], self.url, ROW_THREADS)
        if not tables:
            empty = schemas.METADATA.empty_table().select(columns)
            return empty.add_column(0, "id", pa.array([], pa.int64()))
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        whole = pa.concat_tables(tables).combine_chunks()
        names = schemas.METADATA.empty_table().select(columns).schema
        blocks = [
            whole.take(pa.array(inverse[at : at + ROWS_AT_ONCE])).cast(names) for at in range(0, len(ids), ROWS_AT_ONCE)
        ]
        return pa.concat_tables(blocks).add_column(0, "id", pa.array(ids))


@dataclass(frozen=True)
class NamedParts(PartFiles):
    """The files of these parts and no others, as a worker is given them: it looks nothing up.

    Attributes:
        url: where the parts are.
        identities: part number -> identity hash.
        places: part number -> where it is, of those that another store holds.
    """

    url: str
    identities: Mapping[int, str]
    places: Mapping[int, Place] = field(default_factory=dict)

    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of these parts."""
        return dict(self.identities)

    def identity_of(self, part: int) -> str:
        """The identity hash of one of them."""
        return named(self.url, self.identities, part)

    def place_of(self, part: int) -> Place | None:
        """Where another store holds one of them."""
        return self.places.get(part)


class PartReader(PartFiles):
    """Reads the parts below one URL (`OUT/target`, `OUT/pool` or `OUT/exclude`), and knows which there are."""

    @abstractmethod
    def registered(self) -> list[Part]:
        """All parts, retired ones too, numbered from 0 in first-seen order; empty if there are none yet."""

    @abstractmethod
    def lengths(self) -> dict[int, int]:
        """Part number -> embedded samples of every finished part, as its done-mark says."""

    def moved_urls(self) -> dict[str, str]:
        """Name -> where it is read now, of the sources that moved since they were first seen."""
        return {part.url: part.read_url for part in self.registered() if part.read_url and not part.is_retired}

    def files(self) -> NamedParts:
        """The files of the parts that are finished now, for workers."""
        finished = self.finished()
        return NamedParts(self.url, finished, {part: place for part in finished if (place := self.place_of(part))})

    def count(self) -> int:
        """Number of embedded samples in finished parts."""
        return sum(self.lengths().values())

    def parts(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """Every finished part's number and vectors: what the selection streams over.

        By number; what could not be read is tried again when all others were, so it comes last.

        Raises:
            CuratorError: it still cannot be read.
        """
        return each_retried(sorted(self.finished()), self.vectors, self.url)

    def each_metadata(self, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Every finished part's number and metadata, in the order of `parts`; raises as it does."""
        return each_retried(sorted(self.finished()), lambda part: self.metadata(part, columns), self.url)

    def all_vectors(self) -> NDArray[np.float16]:
        """Every vector, float16 (n, dim), by the number of its part.

        Raises:
            UnusableInput: there is none.
            CuratorError: a part cannot be read.
        """
        vectors = [vectors for _, vectors in sorted(self.parts(), key=lambda item: item[0])]
        if not sum(map(len, vectors)):
            raise UnusableInput(f"{self.url} has no usable image: see quarantine.parquet for why")
        return np.concatenate(vectors)

    def ids(self) -> NDArray[np.int64]:
        """The ids of all rows of the finished parts, int64 (n,), in the order of `all_vectors`."""
        parts = [part_ids(part, rows) for part, rows in sorted(self.lengths().items())]
        return np.concatenate([np.empty(0, np.int64), *parts])


def large_strings(table: pa.Table) -> pa.Table:
    """The same table with 64-bit offsets in its columns of texts."""
    fields = [field.with_type(pa.large_string()) if field.type == pa.string() else field for field in table.schema]
    return table.cast(pa.schema(fields))


def named(url: str, identities: Mapping[int, str], part: int) -> str:
    """The identity hash of a part among finished ones.

    Raises:
        CuratorError: it is not among them.
    """
    if part not in identities:
        raise CuratorError(f"{url} has no finished part {part}", advice="run again")
    return identities[part]


def register_columns(parts: list[Part]) -> dict[str, list[Any]]:
    """The columns of `parts.parquet`."""
    return {
        "part": [part.part for part in parts],
        "url": [part.url for part in parts],
        "size": [part.stat.size for part in parts],
        "version": [part.stat.version for part in parts],
        "kind": [part.kind for part in parts],
        "identity": [part.identity for part in parts],
        "min_side": [part.min_side for part in parts],
        "state": ["retired" if part.is_retired else "kept" if part.is_kept else "active" for part in parts],
        "store": [part.place.store if part.place else None for part in parts],
        "store_part": [part.place.part if part.place else None for part in parts],
        "store_content": [part.place.content if part.place else None for part in parts],
        "read_url": [part.read_url or None for part in parts],
        "read_version": [part.read_version if part.read_url else None for part in parts],
    }


def register_rows(table: pa.Table) -> tuple[Part, ...]:
    """The parts that a `parts.parquet` lists."""
    return tuple(
        Part(
            row["part"],
            row["url"],
            Stat(row["size"], row["version"]),
            row["kind"],
            row["identity"],
            row["min_side"],
            row["state"] == "retired",
            row["state"] == "kept",
            Place(row["store"], row["store_part"], row["store_content"]) if row["store"] else None,
            row["read_url"] or "",
            row["read_version"] or "",
        )
        for row in table.to_pylist()
    )
