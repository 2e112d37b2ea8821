"""Which sample is packed into which output shard: arithmetic on ids, known before a byte is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.errors import InputError, Redo, UnusableInput, Use
from curator.io import Stat, schemas, storage
from curator.store import PartReader
from curator.types import parts_of

__all__ = ["OutputShard", "SelectedRows", "check_packable", "plan_hash", "plan_shards"]

# Packed bytes depend on the code that lays them out: raise this when the same plan gives other bytes.
LAYOUT_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class SelectedRows:
    """A selection's columns, in pool order.

    Attributes:
        ids: int64 (n,), ascending, each once.
        score: float32 (n,).
        centroid: int32 (n,).
        round: int32 (n,).
        stands_for: (n,) lists of `schemas.STANDS_FOR`, the duplicates that were skipped for each row; None if
            duplicates were not looked for.
    """

    ids: NDArray[np.int64]
    score: NDArray[np.float32]
    centroid: NDArray[np.int32]
    round: NDArray[np.int32]
    stands_for: pa.ListArray | None = None

    @classmethod
    def in_pool_order(
        cls,
        ids: NDArray[Any],
        score: NDArray[Any],
        centroid: NDArray[Any],
        round: NDArray[Any],  # noqa: A002
        stands_for: pa.ListArray | None = None,
    ) -> SelectedRows:
        """The same columns, given in any order, sorted by id.

        Raises:
            UnusableInput: an id occurs twice.
        """
        ids = np.asarray(ids, np.int64)
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        if len(twice := ids[1:][ids[1:] == ids[:-1]]):
            raise UnusableInput(f"the selection holds id {twice[0]} twice", advice=Redo("select"))
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
        number: the number of the output shard, from 0.
        chosen: the rows of its samples, in pool order.
        seed: the seed of the shuffle inside it.
        identity: the hash of all that its bytes and manifest rows are a function of; part of its done-mark's name.
        states: public name of each source shard -> its state when it was embedded, or when it moved, which it must
            still have.
    """

    number: int
    chosen: SelectedRows
    seed: int
    identity: str
    states: Mapping[str, Stat]

    def __repr__(self) -> str:
        return self.name

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids of its samples, int64 (n,), ascending."""
        return self.chosen.ids

    @property
    def name(self) -> str:
        """The name of its tar."""
        return f"curated-{self.number:06d}.tar"

    def url(self, out_url: str) -> str:
        """The URL of its tar in the run directory `out_url`."""
        return storage.join(out_url, "shards", self.name)

    @property
    def mark_name(self) -> str:
        """The name of its done-mark, which holds its rows of the manifest."""
        return f"manifest-{self.number:06d}-{self.identity}.parquet"

    def mark_url(self, out_url: str) -> str:
        """The URL of its done-mark in the run directory `out_url`."""
        return storage.join(out_url, "packing", self.mark_name)

    def order(self) -> NDArray[np.int64]:
        """Which row of `chosen` comes first, second, ... in the tar: int64 (n,), a function of seed and number."""
        bits = np.random.PCG64([self.seed, self.number])
        return np.random.Generator(bits).permutation(len(self.chosen))


def plan_shards(store: PartReader, chosen: SelectedRows, shard_size: int, seed: int) -> list[OutputShard]:
    """Cut a selection, in pool order, into output shards.

    Cost: one listing and one small file of the pool; a hash over the selection.

    Args:
        store: the store of the pool that the ids are from.
        chosen: all chosen rows.
        shard_size: the number of samples in an output shard; the last shard may have fewer.
        seed: the seed of the shuffle inside the output shards, at least 0.

    Raises:
        InputError: `shard_size` is below 1.
        UnusableInput: an id is of no finished part of the pool.
    """
    if shard_size < 1:
        raise InputError("an output shard holds at least 1 sample", field="shard_size", value=shard_size)
    finished = store.finished()
    sources = {part.part: part for part in store.registered() if part.part in finished}
    retired = [part.part for part in store.registered() if part.is_retired]
    if lost := int(np.isin(parts_of(chosen.ids), retired).sum()):
        raise UnusableInput(
            f"{lost:,} of the {len(chosen):,} chosen samples are of shards that are gone or changed since",
            advice="run the selection again",
        )
    if len(unknown := np.setdiff1d(parts_of(chosen.ids), np.fromiter(sources, np.int64))):
        raise UnusableInput(
            f"the selection names part {unknown[0]}, which {store.url} does not hold", advice="embed the pool first"
        )
    shards = []
    for number, start in enumerate(range(0, len(chosen), shard_size)):
        cut = chosen.cut(start, start + shard_size)
        parts = [sources[int(part)] for part in np.unique(parts_of(cut.ids))]
        known_by = [[part.part, part.url, part.stat.size, part.stat.version, finished[part.part]] for part in parts]
        identity = _shard_hash(number, cut, seed, known_by)
        shards.append(OutputShard(number, cut, seed, identity, {part.url: part.source_stat for part in parts}))
    return shards


def plan_hash(shards: Iterable[OutputShard]) -> str:
    """The identity of all output shards together."""
    return _hash(json.dumps([shard.identity for shard in shards]).encode())


def check_packable(store: PartReader) -> None:
    """Refuse a pool whose samples cannot be copied from shards.

    Raises:
        UnusableInput: a part was made from ready embeddings or a folder, so there is no shard to read from.
    """
    for part in (part for part in store.registered() if not part.is_retired):
        if part.kind == "embeddings":
            raise UnusableInput(
                f"{part.url} is ready embeddings, which no sample can be packed from", advice=Use("manifest_only", True)
            )
        if part.kind != "tar":
            raise UnusableInput(
                f"{part.url} is a {part.kind}, and samples are packed from tar shards only",
                advice=Use("manifest_only", True),
            )


def _shard_hash(number: int, chosen: SelectedRows, seed: int, parts: list[list[Any]]) -> str:
    head = json.dumps([schemas.FORMAT_VERSION, LAYOUT_VERSION, number, seed, parts]).encode()
    columns = (chosen.ids, chosen.score, chosen.centroid, chosen.round)
    lists = [] if chosen.stands_for is None else [json.dumps(chosen.stands_for.to_pylist()).encode()]
    return _hash(head, *(np.ascontiguousarray(values).tobytes() for values in columns), *lists)


def _hash(*data: bytes) -> str:
    digest = hashlib.sha256()
    for content in data:
        digest.update(content)
    return digest.hexdigest()[:16]
