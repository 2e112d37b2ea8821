"""The ledger lines of one part, a few bytes each: a shard of a million samples may hold nothing but bad ones."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curator.errors import Reason
from curator.types import LedgerLine

__all__ = ["Ledger", "line_of", "line_values"]

# Lines that are packed together: what they have in common takes no room.
BLOCK = 1024
# Blocks that stand unpacked while lines are put in order: they come nearly so.
UNPACKED = 16


class Ledger(Sequence[LedgerLine]):
    """A sequence of ledger lines. Memory: some 20 bytes a line.

    >>> line = LedgerLine("/a.tar", "key", 512, "decode", Reason.TOO_SMALL, "8 x 8")
    >>> ledger = Ledger([line])
    >>> len(ledger), ledger[0] == line, ledger == [line]
    (1, True, True)
    """

    def __init__(self, lines: Iterable[LedgerLine] = ()) -> None:
        self._blocks: list[bytes] = []
        self._rest: list[LedgerLine] = []
        for line in lines:
            self.append(line)

    def append(self, line: LedgerLine) -> None:
        """Add a line behind those that are there."""
        self._rest.append(line)
        if len(self._rest) == BLOCK:
            self._blocks.append(zlib.compress(json.dumps([line_values(line) for line in self._rest]).encode(), 1))
            self._rest = []

    def ordered(self) -> Ledger:
        """The lines by offset, then key; equal ones as they came."""
        block = self._column_table()
        order = pc.sort_indices(block, [(name, "ascending") for name in block.column_names]).to_numpy()
        if np.array_equal(order, np.arange(len(order))):
            return self
        unpacked = lru_cache(UNPACKED)(self._block)
        return Ledger(unpacked(place // BLOCK)[place % BLOCK] for place in order.tolist())

    def _column_table(self) -> pa.Table:
        keys = [pa.array([line.key for line in block], pa.large_string()) for block in self._each_block()]
        offsets = np.fromiter((line.offset for line in self), np.int64, len(self))
        names = pa.chunked_array(keys, pa.large_string())
        return pa.table({"offset": offsets, "key": names, "number": np.arange(len(self))})

    def _block(self, number: int) -> list[LedgerLine]:
        if number == len(self._blocks):
            return self._rest
        return [line_of(values) for values in json.loads(zlib.decompress(self._blocks[number]))]

    def _each_block(self) -> Iterator[list[LedgerLine]]:
        return (self._block(number) for number in range(len(self._blocks) + 1))

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK + len(self._rest)

    def __iter__(self) -> Iterator[LedgerLine]:
        return (line for block in self._each_block() for line in block)

    @overload
    def __getitem__(self, index: int) -> LedgerLine: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LedgerLine]: ...
    def __getitem__(self, index: int | slice) -> LedgerLine | Sequence[LedgerLine]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._block(place // BLOCK)[place % BLOCK]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(own == theirs for own, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Ledger: {len(self):,} lines>"


def line_values(line: LedgerLine) -> list[Any]:
    """A line as done-marks store it."""
    return [line.shard, line.key, line.offset, line.station, line.reason, line.detail]


def line_of(values: Sequence[Any]) -> LedgerLine:
    """A line from that."""
    shard, key, offset, station, reason, detail = values
    return LedgerLine(shard, key, offset, station, Reason(reason), detail)
