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
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator.errors import InputError, Reason
from curator.io import npy, parquet, schemas, storage
from curator.io.storage import Stat
from curator.sources.source import Source
from curator.types import EmbeddingBlock, LedgerLine, SampleRow

__all__ = ["DoneMark", "Part", "PartStore", "identity_hash"]

MARKS_AHEAD = 512
# Each holds a whole part's metadata for a moment.
ROW_THREADS = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A row of `parts.parquet`."""

    part: int
    url: str
    stat: Stat
    kind: str


@dataclass(frozen=True, slots=True)
class DoneMark:
    """What a finished part says about itself.

    Attributes:
        seen: samples met in the source; `seen = embedded + len(ledger)`.
        embedded: rows stored.
        dim: columns of the array.
        seconds: time per station.
        ledger: the samples left out.
    """

    seen: int
    embedded: int
    dim: int
    seconds: dict[str, float]
    ledger: list[LedgerLine]

    def to_json(self) -> bytes:
        """As stored."""
        lines = [[*asdict(line).values()] for line in self.ledger]
        return json.dumps(asdict(self) | {"ledger": lines, "version": schemas.FORMAT_VERSION}).encode()

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
        return cls(**fields, ledger=lines)


def identity_hash(name: str, stat: Stat, encoding: dict[str, Any]) -> str:
    """What a part was made from: its source's state, and how it was embedded.

    Args:
        name: the source's public name.
        stat: its size and version.
        encoding: encoder hash, preprocessing, precision, as recorded in run.json.
    """
    parts = [name, stat.size, stat.version, encoding, schemas.FORMAT_VERSION]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class PartStore:
    """The parts below one URL (`OUT/target` or `OUT/pool`). Holds no state but the URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def array_url(self, part: int) -> str:
        """Where a part's vectors are."""
        return storage.join(self.url, "img_emb", f"img_emb_{part:08d}.npy")

    def metadata_url(self, part: int) -> str:
        """Where a part's metadata is."""
        return storage.join(self.url, "metadata", f"metadata_{part:08d}.parquet")

    def done_url(self, part: int, identity: str) -> str:
        """Where a part's done-mark is."""
        return storage.join(self.url, "done", f"{part:08d}-{identity}.json")

    def registered(self) -> list[Part]:
        """All parts, numbered from 0 in first-seen order; empty if there are none yet."""
        try:
            table = parquet.read_table(storage.join(self.url, "parts.parquet"), schemas.PARTS)
        except FileNotFoundError:
            return []
        return [
            Part(row["part"], row["url"], Stat(row["size"], row["version"]), row["kind"]) for row in table.to_pylist()
        ]

    def registered_count(self) -> int:
        """How many parts there are; 0 if there are none yet."""
        try:
            with (
                storage.open_stream(storage.join(self.url, "parts.parquet")) as stream,
                pq.ParquetFile(stream) as file,
            ):
                return int(file.metadata.num_rows)
        except FileNotFoundError:
            return 0

    def register(self, sources: Sequence[Source]) -> list[Part]:
        """Number the sources: known ones keep their number, new ones are appended.

        Raises:
            InputError: a known source changed or is not among `sources` any more.
        """
        known = self.registered()
        if problem := self.difference(sources):
            raise InputError(problem)
        names = {part.url for part in known}
        new = [source for source in sources if source.name not in names]
        parts = known + [
            Part(number, source.name, source.stat, source.stored_kind)
            for number, source in enumerate(new, start=len(known))
        ]
        if new:
            rows = [
                {"part": p.part, "url": p.url, "size": p.stat.size, "version": p.stat.version, "kind": p.kind}
                for p in parts
            ]
            parquet.write_table(storage.join(self.url, "parts.parquet"), schemas.PARTS, rows)
        return parts

    def difference(self, sources: Sequence[Source]) -> str:
        """Why these sources cannot be those of this store, in one line; empty if they can."""
        given = {source.name: source for source in sources}
        for part in self.registered():
            source = given.get(part.url)
            if source is None:
                return f"{part.url} was used before and is not given now"
            if source.stat != part.stat:
                return (
                    f"{part.url} changed: it had {part.stat.size} bytes (version {part.stat.version}), "
                    f"now {source.stat.size} (version {source.stat.version})"
                )
        return ""

    def finished(self) -> dict[int, str]:
        """Part number -> identity hash of every finished part, by one listing."""
        names = (name.removesuffix(".json") for name in storage.list_names(storage.join(self.url, "done")))
        return {int(name[:8]): name[9:] for name in names}

    def remove_other_marks(self, identities: Mapping[int, str]) -> None:
        """Remove the done-marks that do not have these identities.

        A worker may outlive its run, and mark a part of what has begun anew meanwhile in its place.
        """
        known = {f"{part:08d}-{identity}.json" for part, identity in identities.items()}
        for name in storage.list_names(storage.join(self.url, "done")):
            if name not in known:
                storage.remove(storage.join(self.url, "done", name))

    def commit(self, part: int, identity: str, block: EmbeddingBlock, shard: str, mark: DoneMark) -> None:
        """Store a finished part. The done-mark goes last: without it the part does not exist."""
        npy.write_array(self.array_url(part), block.vectors)
        parquet.write_table(self.metadata_url(part), schemas.METADATA, _columns(part, shard, block.rows))
        self.mark(part, identity, mark)

    def mark(self, part: int, identity: str, mark: DoneMark) -> None:
        """Write a part's done-mark: its other files must stand already."""
        storage.write_bytes(self.done_url(part, identity), mark.to_json())

    def done_mark(self, part: int, identity: str) -> DoneMark:
        """Read a part's done-mark."""
        url = self.done_url(part, identity)
        return DoneMark.from_json(storage.read_bytes(url), url)

    def vectors(self, part: int) -> np.ndarray:
        """The (n, dim) float16 array of a part; a memory map where it is local."""
        url = self.array_url(part)
        return npy.open_rows(url) if storage.is_local(url) else npy.read_array(url)

    def metadata(self, part: int, columns: list[str] | None = None) -> pa.Table:
        """The metadata of a part, row i describing vector i."""
        return parquet.read_table(self.metadata_url(part), schemas.METADATA, columns)

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Every finished part's number and vectors, by number: what the selection streams over."""
        for part in sorted(self.finished()):
            yield part, self.vectors(part)

    def rows(self, ids: np.ndarray, columns: list[str]) -> pa.Table:
        """The metadata rows of some ids, in the order given, with `id` as first column.

        Reads the metadata of each part that holds one of them once, a few parts side by side.
        """
        ids = np.asarray(ids, dtype=np.int64)
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        parts, starts = np.unique(ordered >> 32, return_index=True)
        wanted = zip(parts.tolist(), np.split(ordered & 0xFFFFFFFF, starts[1:]), strict=False)
        with ThreadPoolExecutor(ROW_THREADS) as threads:
            tables = list(threads.map(lambda one: self.metadata(one[0], columns).take(pa.array(one[1])), wanted))
        if not tables:
            empty = schemas.METADATA.empty_table().select(columns)
            return empty.add_column(0, "id", pa.array([], pa.int64()))
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        table = pa.concat_tables(tables).take(pa.array(inverse))
        return table.add_column(0, "id", pa.array(ids))

    def marks(self) -> Iterator[tuple[int, DoneMark]]:
        """Every finished part's number and done-mark, by number; read side by side, a few hundred at a time."""
        finished = sorted(self.finished().items())
        with ThreadPoolExecutor(storage.REMOTE_THREADS) as threads:
            for start in range(0, len(finished), MARKS_AHEAD):
                ahead = finished[start : start + MARKS_AHEAD]
                marks = threads.map(lambda mark: self.done_mark(*mark), ahead)
                yield from zip((part for part, _ in ahead), marks, strict=True)

    def count(self) -> int:
        """Number of embedded samples in finished parts, as their done-marks say."""
        return sum(mark.embedded for _, mark in self.marks())


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
