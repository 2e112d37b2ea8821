"""Deny lists: samples that must never be chosen."""

from __future__ import annotations

import hashlib
import heapq
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.errors import InputError
from curator.io import absolute, public_name, public_text, storage
from curator.store.deny_join import DenyTable, plain_keys
from curator.store.part_reader import PartReader
from curator.types import Member

__all__ = ["KEY_COLUMNS", "DenyList", "LikelyKeys", "read_deny_list", "spellings"]

# What of a part's metadata is compared with a list.
KEY_COLUMNS = ["image_path", "shard"]
# Entries for which the likeliest key is looked for, where they match nothing.
MAX_HINTS = 3


@dataclass(frozen=True)
class DenyList:
    """Samples named by key, in every shard or in one.

    Keys are compared in Unicode's composed form (NFC), since macOS writes names decomposed, and without a leading
    `./`. An entry that ends as images do (`cat.jpg`) also names the key without that ending, which is a tar's.

    Attributes:
        everywhere: keys denied wherever they occur.
        in_shard: shard name -> keys denied there.
        digest: sha256 of the file, part of a selection's identity.
    """

    everywhere: frozenset[str]
    in_shard: dict[str, frozenset[str]]
    digest: str

    def __len__(self) -> int:
        return len(self.everywhere) + sum(map(len, self.in_shard.values()))

    def find(self, store: PartReader) -> tuple[NDArray[np.int64], int]:
        """Ids of the denied samples, int64 and ascending, and how many entries of the list match nothing.

        Costs one reading of the key column of every part's metadata.
        """
        table = self.table()
        join = table.join()
        ids = [np.empty(0, np.int64)]
        for part, metadata in store.each_metadata(KEY_COLUMNS):
            ids += [table.denied(hits) for hits in join(part, metadata)]
        return np.unique(np.concatenate(ids)), int((~table.matched).sum())

    def table(self) -> DenyTable:
        """The list as it is looked up: see `DenyTable`. Its entries are numbered as `unmatched` has them."""
        spelled = (
            (shard, spelling, number)
            for number, (shard, key) in enumerate(self._entries())
            for spelling in spellings(key)
        )
        return DenyTable(spelled, len(self))

    def unmatched(self, matched: NDArray[np.bool_]) -> list[str]:
        """The first keys, by text, of the entries that match nothing, as many as a hint has room for."""
        return heapq.nsmallest(
            MAX_HINTS, (key for (_, key), has in zip(self._entries(), matched, strict=True) if not has)
        )

    @staticmethod
    def hint_text(unmatched: Sequence[str], likely: Iterable[Mapping[str, Likely]]) -> str:
        """For a message: entries that match nothing, and the keys that may be meant.

        Args:
            unmatched: of `unmatched`.
            likely: what `LikelyKeys` found in each part.
        """
        meant: dict[str, Likely] = {}
        for found in likely:
            for entry, match in found.items():
                meant[entry] = min(meant.get(entry, match), match)
        return "; ".join(key + (f" (is {meant[key].key} meant?)" if key in meant else "") for key in unmatched)

    def _entries(self) -> Iterator[tuple[str, str]]:
        yield from (("", key) for key in self.everywhere)
        yield from ((shard, key) for shard, keys in self.in_shard.items() for key in keys)


def spellings(key: str) -> Iterator[str]:
    """The keys that a name in a list stands for: as it is, in NFC, and without the ending of an image."""
    plain = unicodedata.normalize("NFC", key).removeprefix("./")
    yield plain
    stem, _, ending = plain.rpartition(".")
    if stem and not stem.endswith("/") and Member(ending, 0, 0).is_image:
        yield stem


class Likely(NamedTuple):
    """A key that may be meant by an entry that matches nothing: the first by part and row counts."""

    part: int
    row: int
    key: str


@dataclass(frozen=True)
class LikelyKeys:
    """Looks for keys whose file name is that of an entry but for case, folders and endings.

    Attributes:
        loose: such a name -> the entry.
    """

    loose: Mapping[str, str]

    @classmethod
    def of(cls, entries: Iterable[str]) -> LikelyKeys:
        """For these entries."""
        return cls({_loosely(entry): entry for entry in entries})

    def __call__(self, part: int, table: pa.Table) -> dict[str, Likely]:
        """For each entry the first such key of a part's metadata."""
        meant: dict[str, Likely] = {}
        wanted, first = pa.array(sorted(self.loose), pa.large_string()), 0
        for batch in table.select(["image_path"]).to_batches() if self.loose else ():
            names = pc.utf8_lower(plain_keys(batch["image_path"]))
            names = pc.replace_substring_regex(pc.replace_substring_regex(names, "^.*/", ""), r"[.].*$", "")
            for row in np.flatnonzero(pc.is_in(names, wanted)).tolist():
                meant.setdefault(
                    self.loose[names[row].as_py()], Likely(part, first + row, batch["image_path"][row].as_py())
                )
            first += len(batch)
        return meant


def _loosely(key: str) -> str:
    return unicodedata.normalize("NFC", key).rpartition("/")[2].partition(".")[0].lower()


def read_deny_list(url: str) -> DenyList:
    """Read a deny list.

    Either a parquet file with a column `key` (and `shard`, if keys are denied in one shard only), or text:
    a key a line, or `SHARD<TAB>KEY`; `#` begins a comment line.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    try:
        data = storage.read_bytes(absolute(url))
    except FileNotFoundError as error:
        raise _unusable(url, "no such file") from error
    except OSError as error:
        raise _unusable(url, public_text(error.strerror or str(error))) from error
    pairs = _parquet(data, url) if data.startswith(b"PAR1") else _text(data, url)
    everywhere = frozenset(key for shard, key in pairs if not shard)
    in_shard: dict[str, set[str]] = {}
    for shard, key in pairs:
        if shard:
            in_shard.setdefault(public_name(absolute(shard)), set()).add(key)
    deny = DenyList(everywhere, {s: frozenset(keys) for s, keys in in_shard.items()}, hashlib.sha256(data).hexdigest())
    if not len(deny):
        raise _unusable(url, "no key in this file; write a key a line, or SHARD<TAB>KEY")
    return deny


def _parquet(data: bytes, url: str) -> list[tuple[str, str]]:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise _unusable(url, "neither text nor parquet") from error
    if "key" not in table.column_names:
        raise _unusable(url, "no column 'key' in this parquet file")
    # Keys are texts, and a table of other tools may hold them as numbers.
    keys = table["key"].cast(pa.string()).to_pylist()
    shards = table["shard"].to_pylist() if "shard" in table.column_names else [None] * table.num_rows
    return [(shard or "", key) for shard, key in zip(shards, keys, strict=True) if key is not None]


def _text(data: bytes, url: str) -> list[tuple[str, str]]:
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise _unusable(url, "neither text nor parquet") from error
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    pairs = [line.partition("\t") for line in kept]
    return [(shard.strip(), key.strip()) if tab else ("", shard.strip()) for shard, tab, key in pairs]


def _unusable(url: str, message: str) -> InputError:
    return InputError(message, field="deny", value=public_name(url))
