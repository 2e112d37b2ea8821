"""What is packed into which output shard: pure arithmetic on ids, known before a byte is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curator.errors import InputError
from curator.io import schemas, storage
from curator.io.storage import Stat
from curator.store.part_reader import PartReader

__all__ = ["OutputShard", "SelectedRows", "check_packable", "plan_hash", "plan_shards"]

# Packed bytes depend on the code that lays them out: raise this when the same plan gives other bytes.
LAYOUT_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class SelectedRows:
    """A selection's columns, in pool order.

    Attributes:
        ids: (n,) int64, ascending, each once.
        score: (n,) float32.
        centroid: (n,) int32.
        round: (n,) int32.
        stands_for: (n,) lists of `schemas.STANDS_FOR`, the duplicates skipped for each; None if nobody looked.
    """

    ids: np.ndarray
    score: np.ndarray
    centroid: np.ndarray
    round: np.ndarray
    stands_for: pa.ListArray | None = None

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        score: np.ndarray,
        centroid: np.ndarray,
        round: np.ndarray,  # noqa: A002
        stands_for: pa.ListArray | None = None,
    ) -> SelectedRows:
        """From columns in any one order.

        Raises:
            InputError: an id occurs twice.
        """
        ids = np.asarray(ids, np.int64)
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        if len(twice := ids[1:][ids[1:] == ids[:-1]]):
            raise InputError(f"the selection holds id {twice[0]} twice")
        return cls(
            ids,
            np.asarray(score, np.float32)[order],
            np.asarray(centroid, np.int32)[order],
            np.asarray(round, np.int32)[order],
            None if stands_for is None else stands_for.take(pa.array(order)),
        )

    def cut(self, start: int, end: int) -> SelectedRows:
        """Rows [start, end), as views."""
        part = slice(start, end)
        lists = None if self.stands_for is None else self.stands_for[part]
        return SelectedRows(self.ids[part], self.score[part], self.centroid[part], self.round[part], lists)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class OutputShard:
    """One output shard: a task that depends on no other.

    Attributes:
        number: its place among the output shards, from 0.
        chosen: its samples, in pool order.
        seed: of the shuffle inside it.
        identity: hash of all that its bytes and manifest rows are a function of; names its done-mark.
        states: public name -> what each of its sources was when it was embedded, and must be still.
    """

    number: int
    chosen: SelectedRows
    seed: int
    identity: str
    states: Mapping[str, Stat]

    @property
    def ids(self) -> np.ndarray:
        """Its samples' ids, (n,) int64, ascending."""
        return self.chosen.ids

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"curated-{self.number:06d}.tar"

    def url(self, out_url: str) -> str:
        """Where its tar goes in the run directory `out_url`."""
        return storage.join(out_url, "shards", self.name)

    @property
    def mark_name(self) -> str:
        """The name of its done-mark: its manifest rows."""
        return f"manifest-{self.number:06d}-{self.identity}.parquet"

    def mark_url(self, out_url: str) -> str:
        """Where its done-mark goes in the run directory `out_url`."""
        return storage.join(out_url, "packing", self.mark_name)

    def order(self) -> np.ndarray:
        """(n,) int64: which row of `chosen` comes 1st, 2nd, ... in the tar. A function of (seed, number)."""
        bits = np.random.PCG64([self.seed, self.number])
        return np.random.Generator(bits).permutation(len(self.chosen))


def plan_shards(store: PartReader, chosen: SelectedRows, shard_size: int, seed: int) -> list[OutputShard]:
    """Cut a selection, in pool order, into output shards.

    Cost: one listing and one small file of the pool; a hash over the selection.

    Args:
        store: the pool the ids are from.
        chosen: all that was chosen.
        shard_size: samples in an output shard; the last may have fewer.
        seed: at least 0.

    Raises:
        InputError: `shard_size` is below 1, or an id is from no finished part of the pool.
    """
    if shard_size < 1:
        raise InputError(f"--shard-size {shard_size}: an output shard holds at least 1 sample")
    finished = store.finished()
    sources = {part.part: part for part in store.registered() if part.part in finished}
    if len(unknown := np.setdiff1d(chosen.ids >> 32, np.fromiter(sources, np.int64))):
        raise InputError(f"the selection names part {unknown[0]}, which {store.url} does not hold: run embed")
    shards = []
    for number, start in enumerate(range(0, len(chosen), shard_size)):
        cut = chosen.cut(start, start + shard_size)
        parts = [sources[int(part)] for part in np.unique(cut.ids >> 32)]
        known_by = [[part.part, part.url, part.stat.size, part.stat.version, finished[part.part]] for part in parts]
        identity = _unit_hash(number, cut, seed, known_by)
        shards.append(OutputShard(number, cut, seed, identity, {part.url: part.stat for part in parts}))
    return shards


def plan_hash(shards: Iterable[OutputShard]) -> str:
    """The identity of a whole plan."""
    return _hash(json.dumps([shard.identity for shard in shards]).encode())


def check_packable(store: PartReader) -> None:
    """See to it that the pool's samples can be copied from where they came.

    Raises:
        InputError: a part was made from ready embeddings or a folder, so there is no shard to read from.
    """
    for part in store.registered():
        if part.kind == "embeddings":
            raise InputError(f"{part.url} is ready embeddings: no shard to pack from; only --manifest-only is possible")
        if part.kind != "tar":
            raise InputError(f"{part.url} is a {part.kind}: only tar shards can be packed from")


def _unit_hash(number: int, chosen: SelectedRows, seed: int, parts: list[list[Any]]) -> str:
    head = json.dumps([schemas.FORMAT_VERSION, LAYOUT_VERSION, number, seed, parts]).encode()
    columns = (chosen.ids, chosen.score, chosen.centroid, chosen.round)
    lists = [] if chosen.stands_for is None else [json.dumps(chosen.stands_for.to_pylist()).encode()]
    return _hash(head, *(np.ascontiguousarray(values).tobytes() for values in columns), *lists)


def _hash(*pieces: bytes) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()[:16]
