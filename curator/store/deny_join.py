"""Finding denied samples among the keys of many parts: a join by hash, of which a worker holds eight bytes an entry.

    list -> spellings -> their hashes, sorted -> (workers) rows of a part that have one -> (driver) compared as text

Hashes only propose, so what is found is what a comparison of all texts would find.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curator.types import ids_at

__all__ = ["DenyJoin", "DenyTable", "Hits", "plain_keys", "text_hashes"]

# Rows, or spellings, that are hashed at once: some 60 bytes each byte of them.
BLOCK = 1 << 15

Hashes = NDArray[np.uint64]


class Hits(NamedTuple):
    """Rows that seem to be denied.

    Attributes:
        ids: int64 (n,).
        hashes: uint64 (n,), what was found in the list.
        shards: large_string (n,), the shard that the entry must name; empty for entries that name none.
        keys: large_string (n,), as `plain_keys` gives them.
    """

    ids: NDArray[np.int64]
    hashes: Hashes
    shards: pa.LargeStringArray
    keys: pa.LargeStringArray


@dataclass(frozen=True)
class DenyJoin:
    """What a worker needs of a deny list.

    Attributes:
        hashes: uint64, ascending, of the spellings.
        everywhere: whether some entries name no shard.
        in_shard: whether some name one.
    """

    hashes: Hashes
    everywhere: bool
    in_shard: bool

    def __call__(self, part: int, table: pa.Table) -> list[Hits]:
        """The rows of a part's metadata (columns `image_path` and `shard`) that seem to be denied."""
        hits, first = [], 0
        for batch in table.select(["image_path", "shard"]).to_batches(max_chunksize=BLOCK):
            keys = plain_keys(batch["image_path"])
            own = text_hashes(keys)
            if self.everywhere:
                hits.append(self._found(part, first, own, keys, None))
            if self.in_shard:
                shards = batch["shard"].dictionary_encode()
                names = shards.dictionary.cast(pa.large_string())
                # A row without a shard is in none that an entry names.
                which = np.asarray(shards.indices.fill_null(len(names)), np.int64)
                by_name = np.append(text_hashes(names), np.uint64(0))
                hits.append(self._found(part, first, _joined(by_name[which], own), keys, names.take(shards.indices)))
            first += len(batch)
        return [found for found in hits if len(found.ids)]

    def _found(
        self, part: int, first: int, hashes: Hashes, keys: pa.LargeStringArray, shards: pa.LargeStringArray | None
    ) -> Hits:
        # In order, so that the search walks through the list instead of jumping about in it.
        order = np.argsort(hashes)
        ordered = hashes[order]
        places = np.searchsorted(self.hashes, ordered)
        rows = np.sort(order[self.hashes.take(places, mode="clip") == ordered])
        if shards is None:
            names = pa.repeat(pa.scalar("", pa.large_string()), len(rows))
        else:
            rows = rows[np.asarray(shards.take(pa.array(rows)).is_valid(), bool)]
            names = shards.take(pa.array(rows))
        return Hits(ids_at(part, first + rows), hashes[rows], names, keys.take(pa.array(rows)))


class DenyTable:
    """The spellings of a deny list, by hash: what tells the rows that are denied from those that only seem so.

    Args:
        spelled: shard (empty for all), key and number of the entry of each spelling.
        entries: how many entries there are.
    """

    def __init__(self, spelled: Iterable[tuple[str, str, int]], entries: int) -> None:
        blocks = [_Spelled.of(block) for block in _blocks(spelled)] or [_Spelled.of([])]
        hashes = np.concatenate([block.hashes for block in blocks])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._entries = np.concatenate([block.entries for block in blocks])[order]
        self._shards = pa.concat_arrays([block.shards for block in blocks]).take(pa.array(order))
        self._keys = pa.concat_arrays([block.keys for block in blocks]).take(pa.array(order))
        self.matched = np.zeros(entries, bool)

    def join(self) -> DenyJoin:
        """What workers are given."""
        named = pc.not_equal(self._shards, "")
        return DenyJoin(np.unique(self._hashes), not pc.all(named).as_py(), bool(pc.any(named).as_py()))

    def denied(self, hits: Hits) -> NDArray[np.int64]:
        """Those of the ids whose key, and shard, stands in the list; notes in `matched` by which entries."""
        left, right = (np.searchsorted(self._hashes, hits.hashes, side) for side in ("left", "right"))
        counts = right - left
        rows = np.repeat(np.arange(len(counts)), counts)
        # The spellings with a row's hash stand side by side.
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + left[rows]
        same = pc.and_(
            *(
                pc.equal(own.take(pa.array(places)), found.take(pa.array(rows)))
                for own, found in ((self._keys, hits.keys), (self._shards, hits.shards))
            )
        )
        is_same = np.asarray(same, bool)
        self.matched[self._entries[places[is_same]]] = True
        return np.unique(hits.ids[rows[is_same]])


class _Spelled(NamedTuple):
    hashes: Hashes
    entries: NDArray[np.int64]
    shards: pa.LargeStringArray
    keys: pa.LargeStringArray

    @classmethod
    def of(cls, block: list[tuple[str, str, int]]) -> _Spelled:
        shards, keys, entries = zip(*block, strict=True) if block else ((), (), ())
        names, texts = pa.array(shards, pa.large_string()), pa.array(keys, pa.large_string())
        own = text_hashes(texts)
        is_named = np.asarray(pc.not_equal(names, ""), bool)
        hashes = np.where(is_named, _joined(text_hashes(names), own), own)
        return cls(hashes, np.array(entries, np.int64), names, texts)


def _blocks(items: Iterable[Any]) -> Iterator[list[Any]]:
    items = iter(items)
    while block := list(islice(items, BLOCK)):
        yield block


def plain_keys(keys: pa.Array) -> pa.LargeStringArray:
    """Keys in Unicode's composed form (NFC), as the entries of a list are."""
    keys = keys.cast(pa.large_string())
    # Nearly all keys are ASCII, which is composed: looking is ten times as fast as composing.
    return keys if pc.all(pc.string_is_ascii(keys)).as_py() else pc.utf8_normalize(keys, form="NFC")


def text_hashes(texts: pa.LargeStringArray) -> Hashes:
    """A hash of each text, uint64 (n,): equal for equal texts, on all machines. Null counts as the empty text.

    The sum of the bytes, each times an odd number that its place in the text has, mixed.
    """
    texts = texts.fill_null("")
    if not len(texts):
        return np.empty(0, np.uint64)
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    lengths = np.diff(offsets)
    data = texts.buffers()[2]
    content = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.empty(0, np.uint8)
    places = np.arange(len(content)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    factors = _mixed(np.arange(int(lengths.max(initial=0)), dtype=np.uint64)) | np.uint64(1)
    # Sums wrap around, and so do their differences.
    sums = np.concatenate([[np.uint64(0)], np.cumsum((content.astype(np.uint64) + np.uint64(1)) * factors[places])])
    ends = offsets - offsets[0]
    return _mixed(sums[ends[1:]] - sums[ends[:-1]])


def _joined(shards: Hashes, keys: Hashes) -> Hashes:
    return _mixed(keys + _mixed(shards + np.uint64(1)))


def _mixed(numbers: Hashes) -> Hashes:
    """A bijection of 64-bit numbers that lets every bit depend on every other (splitmix64)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
