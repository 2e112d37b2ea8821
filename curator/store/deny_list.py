"""Deny lists: samples that must never be chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curator.errors import InputError
from curator.io import absolute, public_name, storage
from curator.store.part_reader import PartReader
from curator.types import join_id

__all__ = ["DenyList", "read_deny_list"]


@dataclass(frozen=True)
class DenyList:
    """Samples named by key, in every shard or in one.

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
        matches = [match for part in sorted(store.finished()) for match in self._in_part(store, part)]
        ids = np.array([sample_id for sample_id, _ in matches], dtype=np.int64)
        return ids, len(self) - len({entry for _, entries in matches for entry in entries})

    def _in_part(self, store: PartReader, part: int) -> Iterator[tuple[int, list[tuple[str, str]]]]:
        table = store.metadata(part, ["image_path", "shard"])
        shards = table["shard"].unique().to_pylist()
        keys = self.everywhere.union(*(self.in_shard.get(shard, frozenset()) for shard in shards))
        rows = np.flatnonzero(pc.is_in(table["image_path"], pa.array(sorted(keys), pa.string())))
        for row in rows:
            key, shard = table["image_path"][int(row)].as_py(), table["shard"][int(row)].as_py()
            entries = [("", key)] if key in self.everywhere else []
            if key in self.in_shard.get(shard, ()):
                entries.append((shard, key))
            if entries:
                yield join_id(part, int(row)), entries


def read_deny_list(url: str) -> DenyList:
    """Read a deny list.

    Either a parquet file with a column `key` (and `shard`, if keys are denied in one shard only), or text:
    a key a line, or `SHARD<TAB>KEY`; `#` begins a comment line.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    try:
        data = storage.read_bytes(absolute(url))
    except OSError as error:
        raise _unusable(url, error.strerror or str(error)) from error
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
