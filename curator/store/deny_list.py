"""Deny lists: samples that must never be chosen."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.errors import InputError
from curator.io import absolute, public_name, public_text, storage
from curator.store.part_reader import PartReader
from curator.types import Member, join_id

__all__ = ["DenyList", "read_deny_list", "spellings"]


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
        ids, matched = self._find(store)
        return ids, len(self) - len(matched)

    def hint(self, store: PartReader) -> str:
        """For a message: some of the entries that match nothing, and the keys that may be meant. Empty if all match.

        Costs two readings of the key column of every part's metadata.
        """
        _, matched = self._find(store)
        unmatched = sorted(key for shard, key in self._entries() if (shard, key) not in matched)[:MAX_HINTS]
        meant = _likeliest(store, unmatched)
        return "; ".join(key + (f" (is {meant[key]} meant?)" if key in meant else "") for key in unmatched)

    def _entries(self) -> Iterator[tuple[str, str]]:
        yield from (("", key) for key in self.everywhere)
        yield from ((shard, key) for shard, keys in self.in_shard.items() for key in keys)

    def _find(self, store: PartReader) -> tuple[NDArray[np.int64], set[tuple[str, str]]]:
        spelled: dict[str, dict[str, list[tuple[str, str]]]] = {}
        for shard, key in self._entries():
            for spelling in spellings(key):
                spelled.setdefault(shard, {}).setdefault(spelling, []).append((shard, key))
        ids: list[int] = []
        matched: set[tuple[str, str]] = set()
        for part, table in store.each_metadata(["image_path", "shard"]):
            for row, entries in _in_part(table, spelled):
                ids.append(join_id(part, row))
                matched.update(entries)
        return np.sort(np.array(ids, dtype=np.int64)), matched


def _in_part(
    table: pa.Table, spelled: dict[str, dict[str, list[tuple[str, str]]]]
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Each denied row of a part's metadata, and the entries of the list that name it."""
    keys = pc.utf8_normalize(table["image_path"], form="NFC")
    everywhere, shards = spelled.get("", {}), table["shard"]
    here = set(everywhere).union(*(spelled.get(shard, ()) for shard in shards.unique().to_pylist()))
    for row in np.flatnonzero(pc.is_in(keys, pa.array(sorted(here), pa.string()))).tolist():
        key, shard = keys[row].as_py(), shards[row].as_py()
        if entries := everywhere.get(key, []) + (spelled.get(shard, {}).get(key, []) if shard else []):
            yield row, entries


def spellings(key: str) -> Iterator[str]:
    """The keys that a name in a list stands for: as it is, in NFC, and without the ending of an image."""
    plain = unicodedata.normalize("NFC", key).removeprefix("./")
    yield plain
    stem, _, ending = plain.rpartition(".")
    if stem and not stem.endswith("/") and Member(ending, 0, 0).is_image:
        yield stem


def _likeliest(store: PartReader, entries: list[str]) -> dict[str, str]:
    """For each entry a key of the store whose file name is the same but for case, folders and endings."""
    loose = {_loosely(entry): entry for entry in entries}
    meant: dict[str, tuple[int, int, str]] = {}
    for part, table in store.each_metadata(["image_path"]) if loose else ():
        keys = table["image_path"]
        names = pc.utf8_lower(pc.utf8_normalize(keys, form="NFC"))
        names = pc.replace_substring_regex(pc.replace_substring_regex(names, "^.*/", ""), r"[.].*$", "")
        for row in np.flatnonzero(pc.is_in(names, pa.array(sorted(loose), pa.string()))).tolist():
            entry, match = loose[names[row].as_py()], (part, row, keys[row].as_py())
            meant[entry] = min(meant.get(entry, match), match)
    return {entry: key for entry, (_, _, key) in meant.items()}


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
