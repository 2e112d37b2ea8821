"""The layout of an output shard, from the stored metadata alone: known before a byte of a source is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curator.packing import ustar
from curator.packing.names import Namer, extensions
from curator.packing.plan import OutputShard
from curator.types import Member, split_id

__all__ = ["MemberCopy", "SampleRange", "TarLayout", "lay_out", "member_order", "sample_copies", "sample_ranges"]

# Rows that are Python objects at a time.
BATCH = 1024


class MemberCopy(NamedTuple):
    """One member to copy: from which bytes of a source shard to which bytes of an output shard.

    Attributes:
        shard: the public name of the source shard.
        key: the key of the sample in the source shard.
        source_offset: the byte at which the data begins in the source shard.
        size: the bytes of data.
        sha256: the hash that the data must have; empty where there is none, as for all but the image, or where the
            hash of the whole sample is checked.
        name: the name of the member in the output shard; empty where nothing is packed.
        target_offset: the byte at which the data begins in the output shard.
    """

    shard: str
    key: str
    source_offset: int
    size: int
    sha256: str
    name: str = ""
    target_offset: int = 0


class SampleRange(NamedTuple):
    """The bytes of a source shard in which a whole sample stands.

    Attributes:
        shard: the public name of the source shard.
        key: the key of the sample in it.
        source_offset: the byte at which the header of its first member begins.
        size: the bytes up to the end of its last member's data.
        sha256: the hash that they must have.
    """

    shard: str
    key: str
    source_offset: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TarLayout:
    """The layout of an output shard: all of it but the data.

    Attributes:
        keys: the names of its samples, in the order of its ids.
        copies: every member, in tar order.
        size: the bytes of the whole archive.
        ranges: where the samples stand in their shards, for those whose hash is known.
    """

    keys: list[str]
    copies: list[MemberCopy]
    size: int
    ranges: list[SampleRange]


def lay_out(shard: OutputShard, rows: pa.Table) -> TarLayout:
    """Lay out an output shard.

    Args:
        shard: the output shard.
        rows: the metadata of its samples, in the order of its ids: id, image_path, shard, sha256,
            sample_sha256, members.
    """
    begins, end = _begins(rows["members"].combine_chunks(), shard.order())
    namer = Namer()
    keys: list[str] = []
    samples: list[list[MemberCopy]] = []
    ranges: list[SampleRange] = []
    for batch in rows.to_batches(max_chunksize=BATCH):
        for row in batch.to_pylist():
            names = _arrange(tuple(member["ext"] for member in row["members"])).names
            keys.append(namer.name(split_id(row["id"])[0], row["image_path"], names))
            row["key"] = row["image_path"]
            whole = sample_ranges(row)
            # The hash of the whole sample is that of its image, too: one is enough.
            row["sha256"] = "" if whole else row["sha256"]
            samples.append(sample_copies(keys[-1], row, begins[len(samples)]))
            ranges += whole
    copies = [copy for index in shard.order() for copy in samples[index]]
    return TarLayout(keys, copies, ustar.archive_size(end), ranges)


def _begins(members: pa.ListArray, order: NDArray[np.int64]) -> tuple[list[int], int]:
    """The byte of the output shard at which each sample begins, by row, and the byte after the last one."""
    taken = ustar.BLOCK + ustar.padded(members.flatten().field("size").to_numpy().astype(np.int64))
    sizes = np.add.reduceat(taken, members.offsets.to_numpy()[:-1] - members.offsets[0].as_py())
    begins = np.empty(len(sizes), np.int64)
    begins[order] = np.cumsum(sizes[order]) - sizes[order]
    return begins.tolist(), int(sizes.sum())


def member_order(members: Sequence[Member], exts: Sequence[str], image: int) -> list[int]:
    """The order in which the members of a sample are written: sorted by the bytes of their new extensions.

    Readers take the first image of a sample as its image. So where another image would come first, the embedded
    one goes right before it.

    Args:
        members: the members in the order of the source.
        exts: their new extensions, from `names.extensions`.
        image: the number of the member that was embedded.

    >>> members = [Member("webp", 512, 1), Member("jpg", 1536, 1), Member("cls", 2560, 1)]
    >>> member_order(members, ["webp", "jpg", "cls"], image=0)
    [2, 0, 1]
    """
    order = sorted(range(len(exts)), key=lambda index: exts[index].encode())
    first = next((position for position, index in enumerate(order) if members[index].is_image), 0)
    if order[first] != image:
        order.remove(image)
        order.insert(first, image)
    return order


def sample_copies(name: str, row: dict[str, Any], begin: int = 0) -> list[MemberCopy]:
    """The members of a sample in the order in which they are written.

    Args:
        name: the name of the sample in the output shard.
        row: the shard, key, sha256 and members of the sample, as in a manifest.
        begin: the byte of the output shard at which the sample begins.
    """
    members = row["members"]
    arranged = _arrange(tuple(member["ext"] for member in members))
    copies = []
    for index in arranged.order:
        begin += ustar.BLOCK
        offset, size = members[index]["offset"], members[index]["size"]
        sha256 = row["sha256"] if index == arranged.image else ""
        copies.append(
            MemberCopy(row["shard"], row["key"], offset, size, sha256, f"{name}.{arranged.names[index]}", begin)
        )
        begin += ustar.padded(size)
    return copies


def sample_ranges(row: dict[str, Any]) -> list[SampleRange]:
    """Where a sample stands in its shard: one range, or none where its hash is not known.

    Args:
        row: the shard, key, sample_sha256 and members of the sample, as in a manifest.
    """
    if row["sample_sha256"] is None:
        return []
    first, last = row["members"][0], row["members"][-1]
    start = first["offset"] - ustar.BLOCK
    size = last["offset"] + last["size"] - start
    return [SampleRange(row["shard"], row["key"], start, size, row["sample_sha256"])]


class _Arrangement(NamedTuple):
    """The new extensions of a sample's members, the order of the members, and which member was embedded."""

    names: list[str]
    order: list[int]
    image: int


@lru_cache(maxsize=1024)
def _arrange(exts: tuple[str, ...]) -> _Arrangement:
    """The arrangement of all samples whose members have these extensions. Most pools have few kinds of them."""
    members = [Member(ext, 0, 0) for ext in exts]
    names = extensions(exts)
    image = next((index for index, member in enumerate(members) if member.is_image), 0)
    return _Arrangement(names, member_order(members, names, image), image)
