"""Stored parts: the embeddings, metadata and done-mark of one source each, below one URL.

SET/parts.parquet                          which part came from which source
SET/img_emb/img_emb_00000000.npy           float16 (n, dim), unit rows
SET/metadata/metadata_00000000.parquet     one row per vector
SET/done/00000000-<identity hash>.json     written last: counts, timings and the part's ledger lines
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.errors import InputError, Reason
from curator.io import Stat, npy, parquet, public_text, schemas, storage
from curator.sources import Remarks, Source
from curator.store.part_reader import Part, PartReader, register_columns, register_rows
from curator.store.stored_parts import PartCounts, PartListing, StoredParts
from curator.types import EmbeddingBlock, LedgerLine, SampleRow

__all__ = ["DoneMark", "PartStore", "difference", "identity_hash", "unversioned"]

# Done-marks that are read ahead of their use.
MARKS_AHEAD = 512


@dataclass(frozen=True, slots=True)
class DoneMark:
    """What a finished part says about itself.

    Attributes:
        seen: samples met in the source; `seen = embedded + len(ledger)`.
        embedded: rows stored.
        dim: columns of the array.
        seconds: time per station.
        ledger: the samples left out.
        remarks: what is no damage and should be known.
    """

    seen: int
    embedded: int
    dim: int
    seconds: dict[str, float]
    ledger: list[LedgerLine]
    remarks: Remarks = field(default_factory=Remarks)

    def to_json(self) -> bytes:
        """As stored."""
        lines = [[*(asdict(line) | {"detail": public_text(line.detail)}).values()] for line in self.ledger]
        fields = asdict(self) | {"ledger": lines, "remarks": self.remarks.to_json()}
        return json.dumps(fields | {"version": schemas.FORMAT_VERSION}).encode()

    @property
    def counts(self) -> PartCounts:
        """The counts alone."""
        return PartCounts(self.seen, self.embedded, self.dim)

    @classmethod
    def from_json(cls, data: bytes, url: str) -> DoneMark:
        """From its stored form.

        Raises:
            InputError: an unknown format version.
        """
        fields = json.loads(data)
        if (version := fields.pop("version", None)) != schemas.FORMAT_VERSION:
            raise InputError(f"{url} has format version {version}, this curator reads {schemas.FORMAT_VERSION}")
        lines = [
            LedgerLine(shard, key, offset, station, Reason(reason), detail)
            for shard, key, offset, station, reason, detail in fields.pop("ledger")
        ]
        remarks = Remarks.from_json(fields.pop("remarks", {}))
        return cls(**fields, ledger=lines, remarks=remarks)


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

    def done_url(self, part: int, identity: str) -> str:
        """Where a part's done-mark is."""
        return storage.join(self.url, "done", f"{part:08d}-{identity}.json")

    def registered(self) -> list[Part]:
        """All parts, numbered from 0 in first-seen order; empty if there are none yet. Reads parts.parquet."""
        try:
            return list(register_rows(parquet.read_table(self._register_url, schemas.PARTS)))
        except FileNotFoundError:
            return []

    def registered_count(self) -> int:
        """How many parts there are; 0 if there are none yet."""
        try:
            with storage.open_stream(self._register_url) as stream, pq.ParquetFile(stream) as file:
                return int(file.metadata.num_rows)
        except FileNotFoundError:
            return 0

    def register(self, sources: Sequence[Source], known: Sequence[Part] | None = None) -> list[Part]:
        """Number the sources: known ones keep their number, new ones are appended.

        Args:
            sources: all sources of this store.
            known: what `registered` answered, where that is known; else it is asked.

        Raises:
            InputError: a known source changed or is not among `sources` any more.
        """
        known = self.registered() if known is None else known
        if problem := difference(known, sources):
            raise InputError(problem)
        names = {part.url for part in known}
        new = [source for source in sources if source.name not in names]
        parts = [
            *known,
            *(
                Part(number, source.name, source.stat, source.stored_kind)
                for number, source in enumerate(new, start=len(known))
            ),
        ]
        if new:
            parquet.write_table(self._register_url, schemas.PARTS, register_columns(parts))
        return parts

    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of every finished part, by one listing."""
        return dict(self._marked())

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

    def commit(self, part: int, identity: str, block: EmbeddingBlock, shard: str, mark: DoneMark) -> None:
        """Store a finished part. The done-mark goes last: without it the part does not exist."""
        self.write(part, identity, block.vectors, _columns(part, shard, block.rows), mark)

    def write(
        self, part: int, identity: str, vectors: NDArray[np.float16], columns: dict[str, Any], mark: DoneMark
    ) -> None:
        """Store a finished part whose metadata are columns already; see `commit`."""
        npy.write_array(self.array_url(part), vectors)
        parquet.write_table(self.metadata_url(part), schemas.METADATA, columns)
        self.mark(part, identity, mark)

    def mark(self, part: int, identity: str, mark: DoneMark) -> None:
        """Write a part's done-mark: its other files must stand already."""
        storage.write_bytes(self.done_url(part, identity), mark.to_json())

    def done_mark(self, part: int, identity: str) -> DoneMark:
        """Read a part's done-mark."""
        url = self.done_url(part, identity)
        return DoneMark.from_json(storage.read_bytes(url), url)

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
        """Which parts there are: one reading of parts.parquet and one listing of the done-marks."""
        return PartListing(tuple(self.registered()), self._marked())

    def snapshot(self) -> StoredParts:
        """What there is now: one reading of parts.parquet, one listing, and one reading of each done-mark."""
        listing = self.listing()
        counts = {part: mark.counts for part, mark in self.marks(listing.finished)}
        return StoredParts(self.url, listing, counts)

    @property
    def _register_url(self) -> str:
        return storage.join(self.url, "parts.parquet")

    def _marked(self) -> tuple[tuple[int, str], ...]:
        """Part number and identity of every done-mark, by one listing."""
        names = storage.list_names(storage.join(self.url, "done"))
        return tuple((int(name[:8]), name.removesuffix(".json")[9:]) for name in names)


def difference(known: Sequence[Part], sources: Sequence[Source]) -> str:
    """Why these sources cannot be those of these parts, in one line; empty if they can."""
    given = {source.name: source for source in sources}
    for part in known:
        source = given.get(part.url)
        if source is None:
            return f"{part.url} was used before and is not given now"
        if source.stat != part.stat:
            return (
                f"{part.url} changed: it had {part.stat.size} bytes (version {part.stat.version}), "
                f"now {source.stat.size} (version {source.stat.version})"
            )
    return ""


def unversioned(sources: Sequence[Source]) -> str:
    """A warning about sources whose store gives no version, in one line; empty if all have one."""
    unknown = [source for source in sources if not source.stat.version]
    if not unknown:
        return ""
    return (
        f"{len(unknown):,} of {len(sources):,} sources have no version (no etag, no date), such as {unknown[0].name}: "
        "if one is replaced by another of the same size, that is not noticed"
    )


def _columns(part: int, shard: str, rows: list[SampleRow]) -> dict[str, Any]:
    return {
        "image_path": [row.key for row in rows],
        "shard": pc.fill_null(pa.nulls(len(rows), pa.string()), shard),
        "part": np.full(len(rows), part, np.int32),
        "index": np.arange(len(rows), dtype=np.int32),
        "offset": [row.offset for row in rows],
        "size": [row.size for row in rows],
        "sha256": [row.sha256 for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "members": [[{"ext": m.ext, "offset": m.offset, "size": m.size} for m in row.members] for row in rows],
    }
