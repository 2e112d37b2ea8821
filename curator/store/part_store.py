"""Stored parts: the embeddings, metadata and done-mark of one source each, below one URL.

SET/parts.parquet                                  which part came from which source, and its identity hash
SET/img_emb/img_emb_00000000-<identity>.npy        float16 (n, dim), unit rows
SET/metadata/metadata_00000000-<identity>.parquet  one row per vector
SET/done/00000000-<identity>.json                  written last: counts, timings, ledger lines, the files' sha256

Files say what they were made from, so a worker that outlives its run writes beside what has been made since, never
over it. Of several done-marks of a part the one counts whose identity parts.parquet has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.errors import InputError
from curator.io import FileHash, Stat, npy, parquet, part_files, schemas, storage
from curator.sources import Source
from curator.store.changes import find_changes
from curator.store.done_mark import DoneMark, FileSizes
from curator.store.part_reader import Part, PartReader, named, register_columns, register_rows
from curator.store.part_writer import PartWriter
from curator.store.place import Place
from curator.store.stored_parts import LOST_ADVICE, PartListing, StoredParts, lost_text
from curator.types import EmbeddingBlock

__all__ = ["PartStore", "identity_hash", "part_of", "unversioned"]

NO_ENCODING: Mapping[str, Any] = {}
NO_PLACES: Mapping[str, Place] = {}
NAMES = (part_files.array_url, part_files.metadata_url)
Block: TypeAlias = tuple[NDArray[np.float16], pa.Table]
# Done-marks that are read ahead of their use.
MARKS_AHEAD = 512


def identity_hash(name: str, stat: Stat, encoding: dict[str, Any]) -> str:
    """What a part was made from: its source's state, and how it was embedded.

    Args:
        name: the source's public name.
        stat: its size and version.
        encoding: encoder hash, preprocessing, precision, as recorded in run.json.
    """
    parts = [name, stat.size, stat.version, encoding, schemas.FORMAT_VERSION]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class PartStore(PartReader):
    """The parts below one URL (`OUT/target` or `OUT/pool`): written, and looked up anew by every call.

    Args:
        url: where the parts are.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._identities: dict[int, str] = {}
        self._places: Mapping[int, Place] | None = None

    def done_url(self, part: int, identity: str) -> str:
        """Where the done-mark of a part of this store's own is."""
        return part_files.mark_url(self.url, part, identity)

    def place_of(self, part: int) -> Place | None:
        """Where another store holds a part, by parts.parquet as it was last read or written here."""
        if self._places is None:
            self._places = PartListing(tuple(self.registered())).places
        return self._places.get(part)

    def identity_of(self, part: int) -> str:
        """The identity hash of a finished part. Looked up once, and again for a part that was not finished then."""
        if part not in self._identities:
            self._identities = self.finished()
        return named(self.url, self._identities, part)

    def registered(self) -> list[Part]:
        """All parts, numbered from 0 in first-seen order; empty if there are none yet. Reads parts.parquet."""
        try:
            return list(register_rows(parquet.read_table(self._register_url, schemas.PARTS)))
        except FileNotFoundError:
            return []

    def register(
        self,
        sources: Sequence[Source],
        encoding: Mapping[str, Any] = NO_ENCODING,
        min_side: int = 0,
        known: Sequence[Part] | None = None,
        places: Mapping[str, Place] = NO_PLACES,
    ) -> list[Part]:
        """Number the sources: known ones keep their number, new ones are appended.

        Kept parts (`Part.is_kept`) stay as they are while their sources have another version.

        Args:
            sources: all sources of this store.
            encoding: how they are embedded: see `identity_hash`.
            min_side: images with a shorter side are left out.
            known: what `registered` answered, where that is known; else it is asked.
            places: name of a source -> where another store holds its part, of those that are used where they are.

        Raises:
            InputError: a known source changed or is not among `sources` any more.
        """
        known = self.registered() if known is None else known
        by_name = {source.name: source for source in sources}
        kept = {part.part for part in known if part.is_kept and not _is_as_it_was(part, by_name)}
        if changes := find_changes([part for part in known if part.part not in kept], sources):
            raise InputError(changes.text())
        numbers = {part.url: part.part for part in known if not part.is_retired}
        new = (source.name for source in sources if source.name not in numbers)
        numbers |= {name: number for number, name in enumerate(new, start=len(known))}
        standing = {part.part: part for part in known if part.is_retired or part.part in kept}
        made = [
            replace(part_of(by_name[name], number, encoding, min_side), place=places.get(name))
            for name, number in numbers.items()
        ]
        active = [part for part in made if part.part not in standing]
        parts = sorted([*standing.values(), *active], key=lambda part: part.part)
        if parts != list(known):
            self.write_register(parts)
        return parts

    def write_register(self, parts: list[Part]) -> None:
        """Write parts.parquet."""
        self._places = PartListing(tuple(parts)).places
        parquet.write_table(self._register_url, schemas.PARTS, register_columns(parts))

    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of every finished part, by parts.parquet and one listing of each store in it.

        Raises:
            InputError: another store holds a part no more.
        """
        listing = self.listing()
        listing.check_places(self.url)
        return dict(listing.finished)

    def file_sizes(self) -> dict[tuple[int, str], FileSizes]:
        """Part number and identity -> bytes of the array and the metadata that stand under it, by two listings."""
        arrays, tables = (self._sizes(folder) for folder in ("img_emb", "metadata"))
        return {name: FileSizes(arrays.get(name, 0), tables.get(name, 0)) for name in sorted({*arrays, *tables})}

    def _sizes(self, folder: str) -> dict[tuple[int, str], int]:
        files = storage.list_files(storage.join(self.url, folder))
        return {name: state.size for file, state in files.items() if (name := part_files.parse_name(file))}

    def keep_marks(self, identities: Mapping[int, str]) -> dict[int, str]:
        """Those of these parts that are finished, by one listing; done-marks of any other identity are removed.

        A worker may outlive its run, and mark a part of what has begun anew meanwhile in its place.
        """
        finished = {}
        for part, identity in self._marked():
            if identities.get(part) == identity:
                finished[part] = identity
            else:
                self.remove_mark(part, identity)
        return finished

    def remove_mark(self, part: int, identity: str) -> None:
        """Remove a done-mark: the part is not finished any more."""
        storage.remove(self.done_url(part, identity))
        self._identities.pop(part, None)

    def remove_files(self, names: Iterable[tuple[int, str]]) -> None:
        """Remove the arrays and metadata of these parts and identities, whose done-marks must be gone already."""
        urls = [make(self.url, *name) for name in names for make in (part_files.array_url, part_files.metadata_url)]
        storage.remove_files(urls)

    def writer(self, part: int, identity: str, shard: str, dim: int) -> PartWriter:
        """What takes the rows of a part block by block. The done-mark goes last: without it the part does not exist."""
        return PartWriter(self, part, identity, shard, dim)

    def commit(self, part: int, identity: str, block: EmbeddingBlock, shard: str, mark: DoneMark) -> DoneMark:
        """Store a finished part of a single block.

        Returns:
            the done-mark with the hashes of the files.
        """
        with self.writer(part, identity, shard, block.vectors.shape[1]) as writer:
            writer.add(block)
            return writer.finish(mark)

    def write(
        self, part: int, identity: str, vectors: NDArray[np.float16], columns: dict[str, Any], mark: DoneMark
    ) -> DoneMark:
        """Store a finished part whose metadata are columns already; see `commit`."""
        with storage.write_file(part_files.array_url(self.url, part, identity)) as path:
            npy.save_array(path, vectors)
            array = FileHash.of(path)
        with storage.write_file(part_files.metadata_url(self.url, part, identity)) as path:
            parquet.save_table(path, schemas.METADATA, columns)
            metadata = FileHash.of(path)
        mark = replace(mark, array=array, metadata=metadata)
        self.mark(part, identity, mark)
        return mark

    def write_blocks(
        self,
        part: int,
        identity: str,
        shape: tuple[int, int],
        blocks: Iterable[Block],
        finish: Callable[[int], DoneMark],
    ) -> DoneMark:
        """Store a finished part that comes some rows at a time; see `commit`. Memory: a block, and a row group.

        Args:
            part: its number.
            identity: see `part_of`.
            shape: rows that its array has if none is left out, and columns.
            blocks: vectors, float16 (n, dim), and the metadata of as many rows, again and again.
            finish: is called with the number of all rows when the blocks have ended, and gives the done-mark; what it
                raises leaves no part.
        """
        array_url, metadata_url = (make(self.url, part, identity) for make in NAMES)
        with storage.write_file(array_url) as array, storage.write_file(metadata_url) as metadata:
            rows, array_hash = _save_blocks(array, metadata, shape, blocks)
            mark = replace(finish(rows), array=array_hash, metadata=FileHash.of(metadata))
        self.mark(part, identity, mark)
        return mark

    def mark(self, part: int, identity: str, mark: DoneMark) -> None:
        """Write a part's done-mark: its other files must stand already."""
        with storage.write_file(self.done_url(part, identity)) as path, open(path, "wb") as file:
            file.writelines(mark.json_chunks())

    def done_mark(self, part: int, identity: str) -> DoneMark:
        """Read a part's done-mark.

        Raises:
            InputError: another store holds the part, and made it anew in other bytes.
        """
        place = self.place_of(part)
        if place is None:
            return DoneMark.read(self.done_url(part, identity))
        mark = DoneMark.read(part_files.mark_url(place.store, place.part, identity))
        if mark.content != place.content:
            part_there = next(each for each in self.registered() if each.part == part)
            raise InputError(f"{self.url}: {lost_text([part_there])}", advice=LOST_ADVICE)
        return mark

    def marks(
        self, finished: Mapping[int, str] | None = None, read: Mapping[int, DoneMark] | None = None
    ) -> Iterator[tuple[int, DoneMark]]:
        """Every finished part's number and done-mark, by number; read side by side, a few hundred at a time.

        Args:
            finished: what `finished` answered, where that is known; else it is asked.
            read: part number -> done-mark, of those that were read before.
        """
        marks_read = read or {}

        def read_mark(part: int, identity: str) -> DoneMark:
            return marks_read.get(part) or self.done_mark(part, identity)

        marked = sorted((self.finished() if finished is None else finished).items())
        with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
            for start in range(0, len(marked), MARKS_AHEAD):
                ahead = marked[start : start + MARKS_AHEAD]
                marks = threads.map(read_mark, *zip(*ahead, strict=True))
                yield from zip((part for part, _ in ahead), marks, strict=True)

    def lengths(self) -> dict[int, int]:
        """Part number -> embedded samples of every finished part: reads every done-mark."""
        return {part: mark.embedded for part, mark in self.marks()}

    def listing(self) -> PartListing:
        """Which parts there are: one reading of parts.parquet and one listing of each store's done-marks."""
        registered = tuple(self.registered())
        listing = PartListing(registered, (*self._marked(), *_marked_elsewhere(registered)))
        self._places = listing.places
        return listing

    def snapshot(self) -> StoredParts:
        """What there is now: one reading of parts.parquet, one listing, and one reading of each done-mark.

        Raises:
            InputError: another store holds a part no more.
        """
        listing = self.listing()
        listing.check_places(self.url)
        counts = {part: mark.counts for part, mark in self.marks(listing.finished)}
        return StoredParts(self.url, PartListing(listing.registered, tuple(listing.finished.items())), counts)

    @property
    def _register_url(self) -> str:
        return storage.join(self.url, "parts.parquet")

    def _marked(self) -> tuple[tuple[int, str], ...]:
        """Part number and identity of every done-mark, by one listing."""
        return _marked(self.url)


def _marked(url: str) -> tuple[tuple[int, str], ...]:
    names = storage.list_names(storage.join(url, "done"))
    return tuple(mark for name in names if (mark := part_files.parse_name(name)))


def _marked_elsewhere(parts: Iterable[Part]) -> Iterator[tuple[int, str]]:
    """Number here and identity of the parts that other stores hold and whose done-marks stand there."""
    marks: dict[str, set[tuple[int, str]]] = {}
    for part in parts:
        if part.place is None or part.is_retired:
            continue
        if part.place.store not in marks:
            marks[part.place.store] = set(_marked(part.place.store))
        if (part.place.part, part.identity) in marks[part.place.store]:
            yield part.part, part.identity


def part_of(source: Source, number: int, encoding: Mapping[str, Any], min_side: int = 0) -> Part:
    """The row of `parts.parquet` of a source that is embedded in this way.

    A part of another run lacks what its `min_side` left out, whatever this run's is.
    """
    min_side = max(min_side, source.min_side)
    filtered = dict(encoding) | ({"min_side": min_side} if min_side else {})
    identity = identity_hash(source.name, source.stat, filtered)
    return Part(
        number,
        source.name,
        source.stat,
        source.stored_kind,
        identity,
        min_side,
        read_url=source.read_url,
        read_version=source.read_version,
    )


def unversioned(states: Mapping[str, Stat]) -> str:
    """A warning about sources whose store gives no version, in one line; empty if all have one.

    Args:
        states: the name and the state of each source.
    """
    unknown = [name for name, state in states.items() if not state.version]
    if not unknown:
        return ""
    return (
        f"{len(unknown):,} of {len(states):,} sources have no version (no etag, no date), such as {unknown[0]}: "
        "if one is replaced by another of the same size, that is not noticed"
    )


def _is_as_it_was(part: Part, sources: Mapping[str, Source]) -> bool:
    return part.url in sources and sources[part.url].stat == part.stat


def _save_blocks(array: Path, metadata: Path, shape: tuple[int, int], blocks: Iterable[Block]) -> tuple[int, FileHash]:
    """Write vectors and metadata side by side; returns how many rows, and the hash of the array's file."""
    expected, dim = shape
    with (
        closing(npy.RowWriter(array, dim, np.float16, expected)) as row_writer,
        parquet.BlockWriter(metadata, schemas.METADATA) as table_writer,
    ):
        for vectors, table in blocks:
            row_writer.write(vectors)
            table_writer.add(table)
        table_writer.finish()
    return row_writer.count, row_writer.file_hash()
