"""The quarantine ledger: every sample left out, and why."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from curator.io import public_text, schemas, storage
from curator.types import LedgerLine

__all__ = ["Account", "LedgerLines", "write_quarantine"]

T = TypeVar("T")

# Lines that wait in memory before they go to a temporary file, in bytes; and rows of the ledger that stand as objects.
IN_MEMORY = 8 << 20
BATCH = 1 << 16


class LedgerLines:
    """Ledger lines in the order they came, on disk where they are many: a billion images may have millions."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self._count = 0
        self._end = 0

    def extend(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines behind those that are there."""
        for block in _batches(lines):
            self._file.seek(self._end)
            pickle.dump(block, self._file, pickle.HIGHEST_PROTOCOL)
            self._end = self._file.tell()
            self._count += len(block)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[LedgerLine]:
        # Whoever reads may stop in the middle, and another may read in between.
        at = 0
        while at < self._end:
            self._file.seek(at)
            lines = pickle.load(self._file)
            at = self._file.tell()
            yield from lines

    def __del__(self) -> None:
        self._file.close()


@dataclass
class Account:
    """What became of the samples of one or more parts; `seen = embedded + lines` always holds.

    Attributes:
        seen: samples met.
        embedded: samples stored.
        bad: lines that speak of damage; a shard that could not be read is one line.
        unwanted: lines of sound samples that a setting refuses (`min_side`).
        hidden: samples expected in unreadable shards, beyond the one line each has.
        left_out: files beside the sources that are not read, by ending or place.
        retired: parts whose sources are gone or changed; their samples are in no other number.
    """

    seen: int = 0
    embedded: int = 0
    bad: int = 0
    unwanted: int = 0
    hidden: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    retired: int = 0

    def add(self, seen: int, embedded: int, lines: Iterable[LedgerLine]) -> None:
        """Add a finished part."""
        self.seen += seen
        self.embedded += embedded
        for line in lines:
            if line.reason.is_damage:
                self.bad += 1
            else:
                self.unwanted += 1

    def add_unreadable(self, expected: int) -> None:
        """Add a shard that could not be read at all."""
        self.seen += 1
        self.bad += 1
        self.hidden += expected - 1


def write_quarantine(url: str, lines: Iterable[LedgerLine]) -> None:
    """Write OUT/quarantine.parquet. Memory: some ten thousand lines."""
    rows = (asdict(line) | {"reason": str(line.reason), "detail": public_text(line.detail)} for line in lines)
    with (
        storage.write_file(storage.join(url, "quarantine.parquet")) as path,
        pq.ParquetWriter(path, schemas.QUARANTINE, compression="zstd") as writer,
    ):
        for batch in _batches(rows):
            writer.write_table(pa.Table.from_pylist(batch, schema=schemas.QUARANTINE))


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        yield batch
